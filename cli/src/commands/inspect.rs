//! `mbvc inspect`: what is in a file of weights.

use std::path::PathBuf;

use mbvc_import::Inspection;

use crate::error::Result;
use crate::options::examples;
use crate::ui::{BOLD, Bytes, DIM, grouped};
use crate::{outln, ui};

/// Show what is in a file of weights, or in a model as it would be imported
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc inspect weights.safetensors",
    "mbvc inspect model.tflite --json",
))]
pub struct Args {
    /// A container that `mbvc import` wrote, or a model: .safetensors, .onnx, .tflite
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result {
    let inspection = mbvc_import::inspect(&args.file)?;
    if args.json {
        ui::json(&inspection)
    } else {
        show(&inspection)
    }
    Ok(())
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
            shape.join("x"),
            grouped(tensor.parameters),
            format!("{:.4}", tensor.min),
            format!("{:.4}", tensor.max),
        ]
    });
    outln!("\n{}", ui::table(&["tensor", "shape", "parameters", "least", "greatest"], "<>>>>", rows));
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
