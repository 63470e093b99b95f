//! Finds loops in x86 assembly (Intel syntax, as LLVM prints it) and the vectors that they keep on the stack.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::RangeInclusive;

/// Instructions that multiply floats, bytes, and 16-bit numbers.
const PRODUCTS: [&str; 3] = ["vfmadd", "vpdpbusd", "vpmaddwd"];

/// An instruction of an inner loop that moves a vector to or from the stack, or has an operand on the stack.
#[derive(Debug, PartialEq, Eq)]
pub struct Spill {
    pub kernel: String,
    /// Line of the assembly, from 1.
    pub line: usize,
    pub instruction: String,
}

impl Spill {
    /// Whether a vector is written to the stack, because it changes in the loop. A constant is only read.
    pub fn is_written(&self) -> bool {
        let first = self.instruction.split(',').next().unwrap_or_default();
        first.contains("[rsp") || first.contains("[rbp")
    }
}

impl fmt::Display for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: line {}: {}", self.kernel, self.line, self.instruction)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The function of each innermost loop with products.
    pub loops: Vec<String>,
    pub spills: Vec<Spill>,
}

/// The innermost loops with products of all functions, and their spills.
pub fn spills(text: &str) -> Report {
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<(usize, &str)> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| Some((at, line.strip_suffix(':')?)))
        .filter(|(_, name)| !name.starts_with(['.', '\t', ' ', '#']))
        .collect();
    let mut report = Report::default();
    for (number, (start, symbol)) in starts.iter().enumerate() {
        let end = starts.get(number + 1).map_or(lines.len(), |(next, _)| *next);
        let kernel = kernel_name(symbol);
        let body = &lines[*start..end];
        let frame = body.iter().any(|line| is_frame_setup(line));
        for range in inner_loops(body) {
            let inside = &body[range.clone()];
            let multiplies = |line: &&str| PRODUCTS.iter().any(|product| line.trim_start().starts_with(product));
            if !inside.iter().any(multiplies) {
                continue;
            }
            report.loops.push(kernel.clone());
            report.spills.extend(inside.iter().enumerate().filter(|(_, line)| is_spill(line, frame)).map(
                |(at, line)| Spill {
                    kernel: kernel.clone(),
                    line: start + range.start() + at + 1,
                    instruction: line.split_whitespace().collect::<Vec<_>>().join(" "),
                },
            ));
        }
    }
    report
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

/// Whether rbp becomes a frame pointer. Otherwise it is a general register.
fn is_frame_setup(line: &str) -> bool {
    let mut words = line.split_whitespace();
    matches!((words.next(), words.next()), (Some("mov" | "lea"), Some("rbp,")))
        && words.next().is_some_and(|source| source == "rsp" || source.starts_with("[rsp"))
}

fn is_spill(line: &str, frame: bool) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let vector = ["xmm", "ymm", "zmm"].iter().any(|register| {
        // `xmmword ptr` says how wide an operand is; a register has a number.
        line.match_indices(register).any(|(at, _)| line[at + 3..].starts_with(|c: char| c.is_ascii_digit()))
    });
    let stack = line.contains("[rsp") || (frame && line.contains("[rbp"));
    vector && stack
}

/// From a label to the last jump back to it, if no other such range is inside.
fn inner_loops(body: &[&str]) -> Vec<RangeInclusive<usize>> {
    let labels: HashMap<&str, usize> = body
        .iter()
        .enumerate()
        .filter_map(|(at, line)| line.strip_suffix(':').filter(|label| label.starts_with('.')).map(|label| (label, at)))
        .collect();
    let mut loops = BTreeMap::new();
    for (at, line) in body.iter().enumerate() {
        let mut words = line.split_whitespace();
        let (Some(operation), Some(target)) = (words.next(), words.next()) else { continue };
        if let Some(&head) = labels.get(target).filter(|head| operation.starts_with('j') && **head <= at) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An outer loop that may access the stack, and an inner one that contains `line`.
    fn sample(setup: &str, line: &str) -> String {
        format!(
            "_ZN3net4avx26kernel17h0123456789abcdefE:\n\t.cfi_startproc\n\t{setup}\n.LBB0_1:\n\
             \tvmovups\tymm1, ymmword ptr [rsp + 32]\n.LBB0_2:\n\tvfmadd231ps\tymm0, ymm1, ymm2\n\t{line}\n\
             \tjne\t.LBB0_2\n\tdec\trcx\n\tjne\t.LBB0_1\n\tret\n.Lfunc_end0:\n"
        )
    }

    #[test]
    fn a_vector_on_the_stack_of_an_inner_loop_is_found() {
        let spilling = [
            "vmovups\tymmword ptr [rsp - 128], ymm0",
            "vmovaps\tzmm3, zmmword ptr [rsp + 64]",
            "vfmadd231ps\tzmm3, zmm4, zmmword ptr [rsp + 64]",
            "vmovss\tdword ptr [rsp + 4], xmm9",
            "vfmadd231ps\tzmm3, zmm4, dword ptr [rsp + 4*rax]{1to16}",
            "vpdpbusd\tzmm3, zmm4, zmmword ptr [rsp + 64]",
        ];
        for line in spilling {
            let report = spills(&sample("sub\trsp, 200", line));
            let [Spill { kernel, line: 8, instruction }] = &report.spills[..] else { panic!("{line}: {report:?}") };
            assert_eq!(kernel, "kernel");
            assert_eq!(*instruction, line.replace('\t', " "));
        }
    }

    #[test]
    fn distinguishes_writes_from_reads() {
        for (line, is_written) in [
            ("vmovups\tymmword ptr [rsp - 128], ymm0", true),
            ("vmovaps\tzmm3, zmmword ptr [rsp + 64]", false),
            ("vpaddd\tymm3, ymm4, ymmword ptr [rsp + 64]", false),
        ] {
            let report = spills(&sample("sub\trsp, 200", line));
            assert_eq!(report.spills.iter().map(Spill::is_written).collect::<Vec<_>>(), [is_written], "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_spills() {
        let harmless = [
            "vmovups\tymm0, ymmword ptr [rsi + 128]",
            "mov\trax, qword ptr [rsp + 8]",
            "vaddps\tymm0, ymm0, ymm1 # not [rsp]",
            "lea\trax, [rsp + 8]",
        ];
        for line in harmless {
            let report = spills(&sample("sub\trsp, 200", line));
            assert_eq!(report.spills, [], "{line}");
            assert_eq!(report.loops, ["kernel"], "{line}");
        }
    }

    #[test]
    fn rbp_is_the_stack_where_it_was_made_a_frame_pointer() {
        let line = "vmovups\tymm0, ymmword ptr [rbp - 64]";
        assert_eq!(spills(&sample("mov\trbp, rsp", line)).spills.len(), 1);
        assert_eq!(spills(&sample("lea\trbp, [rsp + 128]", line)).spills.len(), 1);
        assert_eq!(spills(&sample("mov\trbp, rdi", line)).spills, []);
    }

    #[test]
    fn loops_without_products_and_the_lines_around_loops_are_not_looked_at() {
        let text = sample("vmovups\tymm0, ymmword ptr [rsp]", "nop");
        assert_eq!(spills(&text.replace("vfmadd231ps", "vaddps")), Report::default());
        assert_eq!(spills(&text.replace("vfmadd231ps", "vpdpbusd")).loops, ["kernel"]);
    }
}
