//! `mbvc inspect`: what is in a file of weights.

mod packed;

use std::path::PathBuf;

use mbvc::Weights;
use mbvc_import::Inspection;
use serde::Serialize;

use crate::engine;
use crate::error::Result;
use crate::options::{FusionArg, SpecOption, examples};
use crate::ui::{BOLD, Bytes, DIM, grouped};
use crate::{outln, ui};

/// Show what is in a file of weights, or in a model as it would be imported
///
/// Of a packed file it tells for what instruction set and network it was packed, and whether it is one of the spec's.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc inspect weights.safetensors",
    "mbvc inspect weights.safetensors --spec specs/v2_0.5_128.yaml",
    "mbvc inspect model.tflite --json",
    "mbvc inspect model.packed --spec network.yaml   is it this network's?",
))]
pub struct Args {
    /// A container that `mbvc import` wrote, a packed file, or a model, as `mbvc import` reads them
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    spec: SpecOption,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// How the layers of a network sum their products on this processor.
#[derive(Serialize)]
struct Numerics {
    isa: &'static str,
    /// By the fast inner product.
    fast: Vec<&'static str>,
    /// With kernels for the fast inner product, but not by it: the processor does not gain, or the layer's values
    /// would cost accuracy.
    plain: Vec<&'static str>,
}

/// What is shown as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    inspection: &'a Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    numerics: Option<Numerics>,
}

pub fn run(args: &Args) -> Result {
    if packed::show(args)? {
        return Ok(());
    }
    let inspection = mbvc_import::inspect(&args.file)?;
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
        let Self { isa, fast, plain } = self;
        let gains = mbvc_runtime::Numerics::Fast.choose() == Ok(mbvc_runtime::Numerics::Fast);
        match (fast.len(), plain.len()) {
            // Integers, or a spec that says `strict`.
            (0, 0) => {}
            (0, _) if !gains => outln!(
                "{BOLD}on this processor{BOLD:#} ({isa}): no layer by the fast inner product, from which it gains nothing"
            ),
            (count, _) => outln!("{BOLD}on this processor{BOLD:#} ({isa}): {count} layers by the fast inner product"),
        }
        if gains && !plain.is_empty() {
            outln!("  plain, since their rounding errors would show: {}", plain.join(", "));
        }
    }
}

/// Packs the weights and looks; `None` for models, and for weights that fit no network that was named.
fn numerics(args: &Args) -> Result<Option<Numerics>> {
    let Ok(weights) = Weights::open(&args.file) else { return Ok(None) };
    let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides_for(Some(&weights)))?;
    let built = engine::program(&source, FusionArg::Block, None).and_then(|program| program.build(&weights, None));
    let network = match built {
        Ok(network) => network,
        Err(_) if args.spec.spec.is_none() => return Ok(None),
        Err(mistake) => return Err(mistake),
    };
    let those = |wanted| -> Vec<&'static str> {
        let layers = network.info().layers.iter().enumerate();
        layers.filter(|(at, _)| network.is_fast(*at) == Some(wanted)).map(|(_, layer)| layer.name).collect()
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
    outln!("\n{}", ui::table(&["tensor", "type", "shape", "parameters", "least", "greatest"], "<<>>>>", rows));
}

/// One line of printable characters, with a count where it had more lines: a file may hold anything.
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
