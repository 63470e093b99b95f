//! `mbvc check`: reports all errors of a spec, or the cost of its network.

mod microcontroller;

use std::path::PathBuf;

use mbvc::Isa;
use mbvc_compiler::diagnostic::Diagnostics;
use mbvc_compiler::spec::Color;
use mbvc_compiler::{Compiled, ir::Op};
use mbvc_runtime::Parameter;
use microcontroller::Cost;
use serde::Serialize;

use crate::engine::{self, Source};
use crate::error::{CliError, Result};
use crate::options::{FusionArg, IsaArg, OverrideArgs, examples};
use crate::ui::{BOLD, Bytes, Count, DIM, GOOD, grouped, outln, plural};
use crate::{name, ui};

/// Check specs and report all errors, or the cost of the network
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc check network.yaml",
    "mbvc check specs/*.yaml --json",
    "mbvc check network.yaml --width 0.5 --resolution 160",
    "mbvc check network.yaml --precision int8 --isa dsp --layers  predicted cost on a Cortex-M",
))]
pub struct Args {
    /// Specs to check
    #[arg(value_name = "SPEC", required = true)]
    specs: Vec<PathBuf>,
    /// Print one line of JSON for each spec
    #[arg(long)]
    json: bool,
    /// Print the predicted instruction count of each layer; requires a quantized network and --isa dsp
    #[arg(long, conflicts_with = "json")]
    layers: bool,
    /// Fusion level [default: the spec's]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction sets, comma-separated [default: the spec's]
    #[arg(long, value_enum, value_delimiter = ',')]
    isa: Vec<IsaArg>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Report {
    Good {
        spec: String,
        ok: bool,
        name: String,
        resolution: [usize; 2],
        input: &'static str,
        classes: usize,
        layers: usize,
        steps: usize,
        macs: usize,
        parameters: usize,
        /// Bytes of the tensors of a weights file.
        weights_bytes: usize,
        fusion: &'static str,
        scratch_bytes: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        microcontroller: Option<Cost>,
    },
    Bad {
        spec: String,
        ok: bool,
        mistakes: Vec<Mistake>,
    },
}

#[derive(Serialize)]
struct Mistake {
    code: &'static str,
    rule: &'static str,
    message: String,
    line: Option<usize>,
    column: Option<usize>,
    help: String,
}

pub fn run(args: &Args) -> Result {
    let mut failed = 0;
    let isas: Vec<Isa> = args.isa.iter().map(|isa| Isa::from(*isa)).collect();
    for path in &args.specs {
        let checked = engine::source(Some(path), args.overrides.overrides()).and_then(|source| {
            let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
            let compiled = source.compile(fusion, &isas)?;
            if args.layers && Cost::of(&compiled).is_none() {
                let name = name::of(path);
                return Err(CliError::new(format!(
                    "{name}: --layers requires the instruction set dsp and fused blocks"
                ))
                .help("pass --precision int8 --isa dsp --fusion block"));
            }
            Ok((compiled, source))
        });
        let name = name::of(path);
        match checked {
            Ok((compiled, source)) if args.json => ui::json(&good(name, &compiled, &source)),
            Ok((compiled, source)) => show(&good(name, &compiled, &source), &source, args.layers),
            Err(CliError::Diagnostics(mistakes)) if args.json => {
                failed += 1;
                ui::json(&bad(name, &mistakes));
            }
            Err(cause) => {
                failed += 1;
                cause.print();
            }
        }
    }
    match (failed, args.specs.len()) {
        (0, _) => Ok(()),
        // The errors are printed already.
        (_, 1) => Err(CliError::Reported),
        _ if args.json => Err(CliError::Reported),
        (failed, all) => Err(CliError::new(format!("{failed} of {} have errors", plural(all, "spec")))),
    }
}

fn good(spec: String, compiled: &Compiled, source: &Source) -> Report {
    let graph = &compiled.graph;
    let nodes = graph.order().unwrap_or_default().into_iter().map(|id| graph.node(id));
    let layers = nodes
        .flat_map(|node| match &node.op {
            Op::Fused(fused) => fused.stages.iter().map(|stage| stage.origin.layer).collect(),
            _ => vec![node.origin.layer],
        })
        .flatten()
        .count();
    let parameters = compiled.parameters();
    let elements = |parameter: &Parameter| parameter.shape.iter().product::<usize>();
    // Not the scales and zero points of quantized networks.
    let is_trained = |parameter: &&Parameter| parameter.name.ends_with(".weight") || parameter.name.ends_with(".bias");
    let first = compiled.programs.first();
    let macs =
        first.map_or(0, |program| program.steps.iter().flat_map(|step| &step.stages).map(|stage| stage.macs).sum());
    Report::Good {
        spec,
        ok: true,
        name: source.spec.name.clone(),
        resolution: source.spec.resolution,
        input: source.spec.input.word(),
        classes: source.spec.classes,
        layers,
        steps: first.map_or(0, |program| program.steps.len()),
        macs,
        parameters: parameters.iter().filter(is_trained).map(elements).sum(),
        weights_bytes: parameters.iter().map(|parameter| elements(parameter) * parameter.dtype.bytes()).sum(),
        fusion: FusionArg::from(compiled.spec.fusion).name(),
        scratch_bytes: compiled.programs.iter().map(|program| program.scratch_bytes).max().unwrap_or(0),
        microcontroller: Cost::of(compiled),
    }
}

fn bad(spec: String, mistakes: &Diagnostics) -> Report {
    let mistakes = mistakes
        .iter()
        .map(|one| {
            let place = mistakes.line_and_column(one);
            Mistake {
                code: one.rule.code,
                rule: one.rule.text,
                message: one.message.clone(),
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                help: one.help.clone(),
            }
        })
        .collect();
    Report::Bad { spec, ok: false, mistakes }
}

fn show(report: &Report, source: &Source, all: bool) {
    let Report::Good { spec, name, resolution: [height, width], classes, layers, steps, macs, parameters, .. } = report
    else {
        return;
    };
    let Report::Good { weights_bytes, fusion, scratch_bytes, microcontroller, .. } = report else { return };
    let gray = if source.spec.input == Color::Gray { " gray" } else { "" };
    outln!("{GOOD}ok{GOOD:#}  {BOLD}{spec}{BOLD:#}");
    outln!("    {name}, width {}, {height}x{width}{gray}, {classes} classes", source.spec.width);
    outln!(
        "    {layers} layers in {steps} steps, {} MACs, {} parameters {DIM}({}){DIM:#}",
        Count(*macs as f64),
        grouped(*parameters),
        Bytes(*weights_bytes)
    );
    outln!("    {} of scratch with fusion {fusion}", Bytes(*scratch_bytes));
    if let Some(cost) = microcontroller {
        cost.show(all);
    }
}
