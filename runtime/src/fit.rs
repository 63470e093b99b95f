//! Whether weights are those that a network needs, told field by field.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::conventions::{Conventions, Precision};
use crate::formats::container::Header;
use crate::network::Needs;

/// One thing in which weights differ from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// A tensor's name or a convention.
    pub field: String,
    /// What the network needs: `F32 [3, 3, 3, 32]`, `relu6`; `nothing` of a tensor that it has not.
    pub expected: String,
    /// What the weights have; `nothing` where the tensor is missing.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the network needs {}, the file has {}", self.expected, self.found)
    }
}

impl Needs<'_> {
    /// Everything in which a container of these conventions and this header differs: conventions, then tensors in the
    /// network's order, then those that it has not.
    pub fn mismatches(&self, theirs: Conventions, header: &Header<'_>) -> Vec<Mismatch> {
        let mut found = Vec::new();
        let mut check = |field: &str, expected: String, value: String| {
            if expected != value {
                found.push(Mismatch { field: field.to_owned(), expected, found: value });
            }
        };
        let ours = self.conventions;
        check("activation", ours.activation.to_string(), theirs.activation.to_string());
        check("padding", ours.padding.to_string(), theirs.padding.to_string());
        check("precision", ours.precision.to_string(), theirs.precision.to_string());
        check("classes", ours.classes.to_string(), theirs.classes.to_string());
        if ours.precision != theirs.precision {
            // Every tensor has another type then.
            return found;
        }
        for parameter in self.parameters {
            let expected = shape(parameter.dtype.name(), parameter.shape);
            let value = match header.tensor(parameter.name) {
                Some(tensor) => shape(tensor.dtype.name(), tensor.shape.dims()),
                None => "nothing".to_owned(),
            };
            check(parameter.name, expected, value);
        }
        for tensor in header.tensors() {
            if !self.parameters.iter().any(|parameter| tensor.name == *parameter.name) {
                let value = shape(tensor.dtype.name(), tensor.shape.dims());
                check(&tensor.name.to_string(), "nothing".to_owned(), value);
            }
        }
        found
    }
}

fn shape(dtype: &str, dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    alloc::format!("{dtype} [{}]", dims.join(", "))
}

/// What to do about weights that differ from the network.
pub struct Remedy<'a>(pub &'a [Mismatch]);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Mismatch { expected, found, .. }) = self.0.iter().find(|one| one.field == "precision") else {
            return f
                .write_str("use the spec that the weights were imported with, or import the weights for this spec");
        };
        write!(f, "write `precision: {found}` into the spec (in the macro: `precision = \"{found}\"`), or ")?;
        match expected == Precision::F32.word() {
            true => f.write_str("import the weights again with `mbvc import --dequantize`"),
            false => write!(f, "import the weights of a model that is quantized to {expected}"),
        }
    }
}

/// Differences as a message tells them: a line each, of many the first, and what to do.
pub struct Told<'a>(pub &'a [Mismatch]);

/// Differences that a message lists before it only counts them.
const LISTED: usize = 12;

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mismatch in self.0.iter().take(LISTED) {
            write!(f, "\n  {}: {mismatch}", mismatch.field)?;
        }
        if let Some(more) = self.0.len().checked_sub(LISTED).filter(|more| *more > 0) {
            write!(f, "\n  and {more} more")?;
        }
        write!(f, "\n{}", Remedy(self.0))
    }
}
