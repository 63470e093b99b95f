//! Finds the innermost loops of functions in assembly, as LLVM prints it: x86 in Intel syntax, or 64-bit Arm.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    X86,
    Arm,
}

impl Architecture {
    fn comment(self) -> &'static str {
        match self {
            Self::X86 => "#",
            Self::Arm => "//",
        }
    }
}

/// An instruction, with its words separated by single spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Line of the assembly, from 1.
    pub line: usize,
    pub text: String,
}

impl Instruction {
    pub fn operation(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// The first operand, which most instructions write.
    pub fn first_operand(&self) -> &str {
        let operands = self.text.split_once(' ').map_or("", |(_, operands)| operands);
        operands.split(',').next().unwrap_or_default()
    }
}

/// A loop that contains no other loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerLoop {
    /// Name of the function.
    pub kernel: String,
    /// Whether rbp is a frame pointer in the function. Otherwise it is a general register.
    pub has_frame: bool,
    pub instructions: Vec<Instruction>,
}

/// The innermost loops of all functions.
pub fn inner_loops(text: &str, architecture: Architecture) -> Vec<InnerLoop> {
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<(usize, &str)> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| Some((at, line.strip_suffix(':')?)))
        .filter(|(_, name)| !name.starts_with(['.', '\t', ' ', '#', '/']))
        .collect();
    let mut loops = Vec::new();
    for (number, (start, symbol)) in starts.iter().enumerate() {
        let end = starts.get(number + 1).map_or(lines.len(), |(next, _)| *next);
        let body = &lines[*start..end];
        let (kernel, has_frame) = (kernel_name(symbol), body.iter().any(|line| is_frame_setup(line)));
        loops.extend(ranges(body).into_iter().map(|range| {
            let first = start + range.start() + 1;
            let instructions = body[range]
                .iter()
                .enumerate()
                .filter_map(|(at, line)| {
                    let text = instruction(line, architecture)?;
                    Some(Instruction { line: first + at, text })
                })
                .collect();
            InnerLoop { kernel: kernel.clone(), has_frame, instructions }
        }));
    }
    loops
}

/// The instruction of a line, without a comment. `None` for labels and directives.
fn instruction(line: &str, architecture: Architecture) -> Option<String> {
    let line = line.split(architecture.comment()).next().unwrap_or_default();
    let text = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_code = !text.is_empty() && !text.starts_with('.') && !text.ends_with(':');
    is_code.then_some(text)
}

/// The last part of a mangled path, without its hash: `_ZN5crate4avx25inner17h0123456789abcdefE` is `inner`.
fn kernel_name(symbol: &str) -> String {
    let mut rest = symbol.strip_prefix("_ZN").unwrap_or_default();
    let mut last = symbol;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(length) = rest[..digits].parse::<usize>() else { break };
        let Some(part) = rest.get(digits..digits + length) else { break };
        if !(part.len() == 17 && part.starts_with('h')) {
            last = part;
        }
        rest = &rest[digits + length..];
    }
    last.to_owned()
}

fn is_frame_setup(line: &str) -> bool {
    let mut words = line.split_whitespace();
    matches!((words.next(), words.next()), (Some("mov" | "lea"), Some("rbp,")))
        && words.next().is_some_and(|source| source == "rsp" || source.starts_with("[rsp"))
}

/// From a label to the last branch back to it, if no other such range is inside.
fn ranges(body: &[&str]) -> Vec<RangeInclusive<usize>> {
    let labels: HashMap<&str, usize> = body
        .iter()
        .enumerate()
        .filter_map(|(at, line)| line.strip_suffix(':').filter(|label| label.starts_with('.')).map(|label| (label, at)))
        .collect();
    let mut loops = BTreeMap::new();
    for (at, line) in body.iter().enumerate() {
        let mut words = line.split_whitespace();
        let (Some(operation), Some(target)) = (words.next(), words.next_back()) else { continue };
        if let Some(&head) = labels.get(target).filter(|head| is_branch(operation) && **head <= at) {
            loops.insert(head, at);
        }
    }
    let contains = |(head, last): (usize, usize), (other, end): (usize, usize)| {
        (head, last) != (other, end) && head <= other && end <= last
    };
    let all: Vec<(usize, usize)> = loops.into_iter().collect();
    all.iter()
        .filter(|outer| !all.iter().any(|inner| contains(**outer, *inner)))
        .map(|(head, last)| *head..=*last)
        .collect()
}

/// Whether an instruction of x86 or Arm jumps to its last operand.
fn is_branch(operation: &str) -> bool {
    operation.starts_with('j')
        || operation.starts_with("b.")
        || matches!(operation, "b" | "cbz" | "cbnz" | "tbz" | "tbnz")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(inner: &InnerLoop) -> Vec<&str> {
        inner.instructions.iter().map(|instruction| instruction.text.as_str()).collect()
    }

    #[test]
    fn finds_the_inner_loop_of_x86() {
        let text = "_ZN3net4avx26kernel17h0123456789abcdefE:\n\t.cfi_startproc\n\tmov\trbp, rsp\n.LBB0_1:\n\tinc\trax\n\
                    .LBB0_2:\n\tvmulps\tymm0, ymm1, ymm2 # comment\n.LBB0_3:\n\tdec\trcx\n\tjne\t.LBB0_2\n\
                    \tjmp\t.LBB0_1\n";
        let [inner] = &inner_loops(text, Architecture::X86)[..] else { panic!("one loop") };
        assert_eq!((inner.kernel.as_str(), inner.has_frame), ("kernel", true));
        assert_eq!(texts(inner), ["vmulps ymm0, ymm1, ymm2", "dec rcx", "jne .LBB0_2"]);
        let first = &inner.instructions[0];
        assert_eq!((first.line, first.operation(), first.first_operand()), (7, "vmulps", "ymm0"));
    }

    #[test]
    fn finds_the_inner_loops_of_arm() {
        let text = "kernel:\n.LBB1_1:\n\tldr\tq0, [x0], #16\n\tfmla\tv1.4s, v2.4s, v0.s[0] // comment\n\
                    \tsubs\tx8, x8, #1\n\tb.ne\t.LBB1_1\n.LBB1_2:\n\tcbnz\tx9, .LBB1_2\n\tret\n";
        let loops = inner_loops(text, Architecture::Arm);
        let [first, second] = &loops[..] else { panic!("{loops:?}") };
        assert_eq!(
            texts(first),
            ["ldr q0, [x0], #16", "fmla v1.4s, v2.4s, v0.s[0]", "subs x8, x8, #1", "b.ne .LBB1_1"]
        );
        assert_eq!(texts(second), ["cbnz x9, .LBB1_2"]);
        assert_eq!(first.kernel, "kernel");
    }
}
