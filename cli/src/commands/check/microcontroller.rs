//! Predicted cost of a network on a microcontroller.

use mbvc_compiler::{Compiled, Program};
use serde::Serialize;

use crate::ui::{self, Bytes, Count, DIM, grouped, outln};

/// Predicted cost of a network compiled for `dsp`, in an optimized program on a Cortex-M4.
#[derive(Serialize)]
pub struct Cost {
    isa: &'static str,
    /// Instruction count of a call.
    instructions: u64,
    /// Code size of the program.
    code_bytes: usize,
    /// Size of the packed weights. Flash holds the code and the weights.
    weight_bytes: usize,
    /// Size of the scratch, in RAM.
    scratch_bytes: usize,
    /// The layers and the copies between them, in order of execution.
    stages: Vec<Stage>,
}

#[derive(Serialize)]
struct Stage {
    name: String,
    /// Multiply-adds; 0 for copies.
    macs: usize,
    /// Instruction count.
    instructions: u64,
}

impl Cost {
    /// Returns the cost of the network's program for `dsp`, if it has one.
    pub fn of(compiled: &Compiled) -> Option<Self> {
        compiled.programs.iter().find_map(Self::of_program)
    }

    fn of_program(program: &Program) -> Option<Self> {
        let stages = program.steps.iter().flat_map(|step| &step.stages);
        let stages = stages
            .map(|stage| Some(Stage { name: stage.name.clone(), macs: stage.macs, instructions: stage.instructions? }));
        Some(Self {
            isa: program.isa.name(),
            instructions: program.instructions()?,
            code_bytes: program.code_bytes?,
            weight_bytes: program.packed_bytes(),
            scratch_bytes: program.scratch_bytes,
            stages: stages.collect::<Option<_>>()?,
        })
    }

    /// Prints a summary, and the stages if `all`.
    pub fn show(&self, all: bool) {
        let Self { isa, instructions, code_bytes, weight_bytes, scratch_bytes, stages } = self;
        let macs: usize = stages.iter().map(|stage| stage.macs).sum();
        outln!(
            "    {isa}: about {} instructions, {} per MAC {DIM}(predicted for a Cortex-M4 at opt-level 3){DIM:#}",
            Count(*instructions as f64),
            per(*instructions, macs)
        );
        outln!(
            "    flash: about {} ({} of code, {} of weights); RAM: {} of scratch, plus stack and image",
            Bytes(code_bytes + weight_bytes),
            Bytes(*code_bytes),
            Bytes(*weight_bytes),
            Bytes(*scratch_bytes)
        );
        if all {
            let rows = stages.iter().map(|stage| {
                let share = stage.instructions as f64 / (*instructions).max(1) as f64 * 100.0;
                let Stage { name, macs, instructions } = stage;
                let numbers =
                    [grouped(*macs), grouped(*instructions as usize), per(*instructions, *macs), format!("{share:.1}")];
                std::iter::once(name.clone()).chain(numbers).collect()
            });
            let header = ["stage", "MACs", "instructions", "per MAC", "%"];
            outln!("\n{}", ui::table(&header, "<>>>>", rows));
        }
    }
}

/// Returns the instructions per multiply-add, or an empty string for copies.
fn per(instructions: u64, macs: usize) -> String {
    if macs == 0 { String::new() } else { format!("{:.2}", instructions as f64 / macs as f64) }
}
