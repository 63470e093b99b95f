//! Vectors that inner loops of x86 kernels keep on the stack.

use std::fmt;

use super::loops::{Architecture, InnerLoop, inner_loops};

/// Instructions that multiply floats, pairs of bf16 numbers, bytes, and 16-bit numbers.
const PRODUCTS: [&str; 4] = ["vfmadd", "vdpbf16ps", "vpdpbusd", "vpmaddwd"];

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
    let mut report = Report::default();
    for inner in inner_loops(text, Architecture::X86) {
        let multiplies = |text: &str| PRODUCTS.iter().any(|product| text.starts_with(product));
        if !inner.instructions.iter().any(|instruction| multiplies(&instruction.text)) {
            continue;
        }
        report.spills.extend(spills_of(&inner));
        report.loops.push(inner.kernel);
    }
    report
}

fn spills_of(inner: &InnerLoop) -> impl Iterator<Item = Spill> {
    let spills = inner.instructions.iter().filter(|instruction| is_spill(&instruction.text, inner.has_frame));
    spills.map(|instruction| Spill {
        kernel: inner.kernel.clone(),
        line: instruction.line,
        instruction: instruction.text.clone(),
    })
}

fn is_spill(instruction: &str, frame: bool) -> bool {
    let vector = ["xmm", "ymm", "zmm"].iter().any(|register| {
        // `xmmword ptr` says how wide an operand is; a register has a number.
        let mut found = instruction.match_indices(register);
        found.any(|(at, _)| instruction[at + 3..].starts_with(|c: char| c.is_ascii_digit()))
    });
    let stack = instruction.contains("[rsp") || (frame && instruction.contains("[rbp"));
    vector && stack
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
