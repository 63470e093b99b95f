//! Predicted cost of a network on a microcontroller.

use mbvc_compiler::{Compiled, Program};
use serde::Serialize;

use crate::ui::{self, Bytes, Count, DIM, grouped, outln};

/// Predicted cost of a network with the instruction set `dsp`, of an optimized program for a Cortex-M4.
#[derive(Serialize)]
pub struct Cost {
    isa: &'static str,
    /// Instructions of a call.
    instructions: usize,
    code_bytes: usize,
    /// Packed weights. Code and weights are in flash.
    weight_bytes: usize,
    scratch_bytes: usize,
    stages: Vec<Stage>,
}

#[derive(Serialize)]
struct Stage {
    name: String,
    macs: usize,
    instructions: usize,
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
            "    flash about {}: {} of code, {} of weights; RAM {} of scratch",
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
                    [grouped(*macs), grouped(*instructions), per(*instructions, *macs), format!("{share:.1}")];
                std::iter::once(name.clone()).chain(numbers).collect()
            });
            let header = ["layer", "MACs", "instructions", "per MAC", "%"];
            outln!("\n{}", ui::table(&header, "<>>>>", rows));
        }
    }
}

/// Instructions per multiply-add; nothing for copies.
fn per(instructions: usize, macs: usize) -> String {
    if macs == 0 { String::new() } else { format!("{:.2}", instructions as f64 / macs as f64) }
}
