//! `mbvc inspect`: shows the content of a weights file, packed file or model.

mod packed;

use std::path::PathBuf;

use mbvc::Weights;
use mbvc_import::Inspection;
use serde::Serialize;

use crate::engine;
use crate::error::{CliError, Result};
use crate::options::{FusionArg, SpecOption, examples};
use crate::ui::{BOLD, Bytes, DIM, grouped, outln};
use crate::{files, name, ui};

/// Show the content of a weights file, a packed file, or a model
///
/// Models are shown as they would be imported. For a packed file this shows its instruction set and network, and
/// whether the network of the spec accepts it.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc inspect weights.safetensors",
    "mbvc inspect weights.safetensors --spec specs/v2_0.5_128.yaml",
    "mbvc inspect model.tflite --json",
    "mbvc inspect model.packed --spec network.yaml   does the network accept the file?",
))]
pub struct Args {
    /// Weights file, packed file, or model in a format that `mbvc import` reads
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    spec: SpecOption,
}

/// Summation of the layers' products on this processor.
#[derive(Serialize)]
struct Numerics {
    isa: &'static str,
    /// Layers that use the fast inner product.
    fast: Vec<&'static str>,
    /// Layers that have kernels for the fast inner product but do not use it: the processor does not gain from it, or
    /// the values of the layer would lose accuracy.
    plain: Vec<&'static str>,
}

/// The JSON output.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    inspection: &'a Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    numerics: Option<Numerics>,
}

pub fn run(args: &Args) -> Result {
    files::reject_spec(&args.file, "a weights file, a packed file or a model")?;
    if packed::show(args)? {
        return Ok(());
    }
    let mut inspection = mbvc_import::inspect(&args.file)?;
    inspection.file = name::of(&args.file);
    let numerics = numerics(args)?;
    if args.json {
        ui::json(&Shown { inspection: &inspection, numerics });
        return Ok(());
    }
    show(&inspection);
    if let Some(numerics) = numerics {
        numerics.show();
    }
    Ok(())
}

impl Numerics {
    fn show(&self) {
        use mbvc_runtime::Numerics::Fast;
        let Self { isa, fast, plain } = self;
        let gains = Fast.choose() == Ok(Fast);
        match (fast.len(), plain.len()) {
            // Quantized, or `numerics: strict` in the spec.
            (0, 0) => {}
            (0, _) if !gains => outln!(
                "{BOLD}on this processor{BOLD:#} ({isa}): no layer uses the fast inner product, because it would not be faster"
            ),
            (count, _) => outln!("{BOLD}on this processor{BOLD:#} ({isa}): {count} layers use the fast inner product"),
        }
        if gains && !plain.is_empty() {
            outln!("  not used, for accuracy: {}", plain.join(", "));
        }
    }
}

/// Packs the weights for this processor. `None` for models, and if no network is given and the weights do not fit the
/// built-in one.
///
/// # Errors
/// If the weights do not fit the given network, or a network is given for a model.
fn numerics(args: &Args) -> Result<Option<Numerics>> {
    let Ok(weights) = Weights::open(&args.file) else {
        return match args.spec.is_default() {
            true => Ok(None),
            false => {
                let shown = args.file.display();
                Err(CliError::new(format!(
                    "{shown} is a model; --spec and overrides apply to weights and packed files"
                ))
                .help(format!("`mbvc import {shown} --spec FILE` checks that the model fits the spec")))
            }
        };
    };
    let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides_for(Some(&weights)))?;
    let built = engine::program(&source, FusionArg::Block, None).and_then(|program| program.build(&weights, None));
    let network = match built {
        Ok(network) => network,
        Err(_) if args.spec.is_default() => return Ok(None),
        Err(mistake) => return Err(mistake),
    };
    let those = |fast| -> Vec<&'static str> {
        let layers = network.info().layers.iter().enumerate();
        layers.filter(|(at, _)| network.is_fast(*at) == Some(fast)).map(|(_, layer)| layer.name).collect()
    };
    Ok(Some(Numerics { isa: network.isa().name(), fast: those(true), plain: those(false) }))
}

fn show(found: &Inspection) {
    outln!(
        "{BOLD}{}{BOLD:#}: {}, {}, {} parameters in {} tensors\n",
        found.file,
        found.format,
        Bytes(found.file_bytes),
        grouped(found.parameters),
        found.tensors.len()
    );
    let widest = found.metadata.keys().map(String::len).chain(found.facts.iter().map(|fact| fact.key.len())).max();
    let widest = widest.unwrap_or(0);
    for (key, value) in &found.metadata {
        outln!("  {DIM}{key:widest$}{DIM:#}  {}", shortened(value));
    }
    if !found.facts.is_empty() {
        outln!("\n{BOLD}found in the model{BOLD:#}");
        for fact in &found.facts {
            outln!("  {:widest$}  {}  {DIM}{}{DIM:#}", fact.key, shortened(&fact.value), fact.how);
        }
    }
    for note in &found.notes {
        ui::note(note);
    }
    let rows = found.tensors.iter().map(|tensor| {
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        vec![
            tensor.name.clone(),
            tensor.element.to_owned(),
            shape.join("x"),
            grouped(tensor.parameters),
            mbvc_import::number(tensor.min),
            mbvc_import::number(tensor.max),
        ]
    });
    outln!("\n{}", ui::table(&["tensor", "type", "shape", "parameters", "min", "max"], "<<>>>>", rows));
}

/// The first line, without control characters, and the number of further lines: a file may contain anything.
fn shortened(value: &str) -> String {
    const SHOWN: usize = 90;
    let mut lines = value.lines();
    let first = lines.next().unwrap_or_default();
    let mut text: String = first.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if first.chars().count() > SHOWN {
        text.push('…');
    }
    match lines.count() {
        0 => text,
        more => format!("{text} and {more} more lines"),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_and_odd_values_stay_on_one_line() {
        assert_eq!(shortened("a\nb\nc"), "a and 2 more lines");
        assert_eq!(shortened("a\x1b[31mb"), "a?[31mb");
        assert_eq!(shortened(&"x".repeat(100)).chars().count(), 91);
        assert_eq!(shortened(""), "");
    }
}
