//! Summary of a file's content, for people and as data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use mbvc_runtime::Weights;
use serde::Serialize;

use crate::container::Container;
use crate::detect::detect;
use crate::error::{ImportError, Result};
use crate::files::read_file;
use crate::options::{Quantization, ReadOptions};
use crate::read::read_from;
use crate::source::{Fact, Format};
use crate::tensor::Tensor;
use crate::text::{display_shape, shorten};

/// Summary of a tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorSummary {
    /// Canonical name: `block2.expand.weight`.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub parameters: usize,
    /// Element type: `f32`, `i8`, `u8` or `i32`.
    pub element: &'static str,
    /// Least element, not dequantized.
    pub min: f64,
    /// Greatest element, not dequantized.
    pub max: f64,
}

/// Summary of a weights file or a model file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Name as given by the caller.
    pub file: String,
    /// `safetensors`, `ONNX`, `TFLite`, `Keras`, `TensorFlow.js` or `PyTorch`.
    pub format: String,
    /// Size of the file.
    pub file_bytes: usize,
    /// Number of weights and biases after folding.
    pub parameters: usize,
    /// Entries of the weights file; for a model those that an import would write.
    pub metadata: BTreeMap<String, String>,
    /// Findings of a model's import and their evidence.
    pub facts: Vec<Fact>,
    /// Notes for the user; empty for a weights file.
    pub notes: Vec<String>,
    /// Tensors in order of execution, with canonical names and layouts.
    pub tensors: Vec<TensorSummary>,
}

/// Summarizes a weights file, or a model as it would be imported.
///
/// # Errors
/// As [`read`](crate::read); for a weights file as `mbvc_runtime::Weights::open`, or if a weight is not finite.
pub fn inspect(path: &Path) -> Result<Inspection> {
    inspect_from(&read_file(path)?, &path.display().to_string(), Some(path))
}

/// Summarizes a file in memory: see [`inspect`].
///
/// # Errors
/// As [`read_bytes`](crate::read_bytes).
pub fn inspect_bytes(bytes: &[u8], name: &str) -> Result<Inspection> {
    inspect_from(bytes, name, None)
}

fn inspect_from(bytes: &[u8], name: &str, path: Option<&Path>) -> Result<Inspection> {
    let format = detect(bytes, name, None)?;
    let (container, facts, notes) = if format == Format::Container {
        (weights_file(bytes).map_err(|error| error.file(name))?, Vec::new(), Vec::new())
    } else {
        let options = |quantization| ReadOptions { format: Some(format), quantization, ..ReadOptions::default() };
        let imported = match read_from(bytes, name, &options(Quantization::Keep), path) {
            Ok(imported) => imported,
            // A model whose quantization cannot be kept is shown dequantized.
            Err(reason) => {
                let dequantized = read_from(bytes, name, &options(Quantization::Dequantize), path);
                let mut imported = dequantized.map_err(|_| reason.clone())?;
                imported.notes.push(format!(
                    "shown as `mbvc import --dequantize` reads it, because its quantization cannot be kept: {reason}"
                ));
                imported
            }
        };
        (imported.container, imported.facts, imported.notes)
    };
    Ok(Inspection {
        file: name.to_owned(),
        format: format.to_string(),
        file_bytes: bytes.len(),
        parameters: container.parameters(),
        tensors: container.tensors.iter().map(summary).collect(),
        metadata: container.metadata,
        facts,
        notes,
    })
}

/// Reads a weights file and applies the checks of the runtime, so that everything that is shown can be run.
fn weights_file(bytes: &[u8]) -> Result<Container> {
    let container = Container::parse(bytes)?;
    Weights::from_bytes(bytes.to_vec()).map_err(|error| ImportError::malformed(error.to_string()))?;
    container.check_finite()?;
    Ok(container)
}

fn summary(tensor: &Tensor) -> TensorSummary {
    let values = tensor.data.to_f64();
    TensorSummary {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        parameters: tensor.data.len(),
        element: tensor.data.element().name(),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}, {} bytes", self.file, self.format, grouped(self.file_bytes))?;
        writeln!(f, "  {} parameters in {} tensors", grouped(self.parameters), self.tensors.len())?;
        writeln!(f, "\nmetadata")?;
        for (key, value) in &self.metadata {
            let key = shorten(key);
            match key.as_str() {
                // Labels may be a thousand lines.
                "mbvc.labels" => {
                    let mut labels = value.lines();
                    let shown: Vec<_> = labels.by_ref().take(3).map(shorten).collect();
                    writeln!(f, "  {key:20} {} and {} more", shown.join(" | "), labels.count())?;
                }
                _ => writeln!(f, "  {key:20} {}", shorten(value))?,
            }
        }
        if !self.facts.is_empty() {
            writeln!(f, "\nfound")?;
            for Fact { key, value, how } in &self.facts {
                writeln!(f, "  {key:20} {value}  ({how})")?;
            }
        }
        for note in &self.notes {
            writeln!(f, "\nnote: {note}")?;
        }
        writeln!(f, "\n{:30} {:>5} {:>14} {:>12}   range", "tensor", "type", "shape", "elements")?;
        for TensorSummary { name, shape, parameters, element, min, max } in &self.tensors {
            let (name, shape) = (shorten(name), display_shape(shape));
            let (min, max) = (number(*min), number(*max));
            writeln!(f, "{name:30} {element:>5} {shape:>14} {:>12}   {min} to {max}", grouped(*parameters))?;
        }
        Ok(())
    }
}

/// Formats an element of a tensor: integers in full, floats with the shortest digits that identify the float32, such as
/// `-128`, `0.007843138`, `1.5e-12`.
pub fn number(value: f64) -> String {
    const LARGE: f64 = 1e10;
    if value.fract() == 0.0 && value.abs() < LARGE {
        return value.to_string();
    }
    let value = value as f32;
    let usual = !value.is_finite() || (1e-5..LARGE as f32).contains(&value.abs());
    if usual { value.to_string() } else { format!("{value:e}") }
}

/// `3 489 097`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{grouped, number};

    #[test]
    fn numbers_have_all_significant_digits() {
        for (value, text) in [
            (f64::from(1.0f32 / 127.5), "0.007843138"),
            (f64::from(1.7e-6f32), "1.7e-6"),
            (-128.0, "-128"),
            (0.0, "0"),
            (f64::from(1.5e-12f32), "1.5e-12"),
            (f64::INFINITY, "inf"),
            (f64::from(i32::MIN), "-2147483648"),
            (1e30, "1e30"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn groups_digits() {
        assert_eq!(grouped(3_489_097), "3 489 097");
        assert_eq!(grouped(12), "12");
    }
}
