//! Building a model: the weights are checked against the network, the kernels chosen, the block packed.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::conventions::{Conventions, Precision};
use crate::isa::{Isa, IsaError, choose};
use crate::network::{Model, NetworkInfo, Parameter};
use crate::numerics::NumericsError;
use crate::pack::{PackError, Plan};
use crate::scratch::{Packed, Pages};
use crate::weights::Weights;

/// Checks `weights` against the network, chooses the kernels and packs for them.
///
/// # Errors
/// Everything in which the weights differ from what the network needs, or the instruction set that is missing.
pub fn build<P: Plan>(
    info: &'static NetworkInfo,
    plan: impl FnOnce(Isa) -> Option<P>,
    weights: &Weights,
    isa: Option<Isa>,
) -> Result<Model, ModelError> {
    let isa = choose(info.isas, isa).map_err(ModelError::Isa)?;
    check(info.name, info.conventions, info.parameters, weights)?;
    let plan = plan(isa.isa()).ok_or(ModelError::Isa(IsaError::NoneCompiled { compiled: info.isas }))?;
    let (numerics, preprocess) = (info.numerics.choose().map_err(ModelError::Numerics)?, weights.preprocessing());
    let mut block = Pages::zeroed(plan.lines());
    plan.pack(&weights.container(), &preprocess, numerics, &mut block).map_err(ModelError::Pack)?;
    Ok(Model { packed: Packed::Owned(block), isa, preprocess, about: Arc::new(weights.about()) })
}

/// Compares `weights` with the conventions and the tensors of `network`.
///
/// # Errors
/// Everything in which they differ.
pub fn check(
    network: &'static str,
    conventions: Conventions,
    parameters: &[Parameter],
    weights: &Weights,
) -> Result<(), ModelError> {
    let mismatches = mismatches(conventions, parameters, weights);
    if mismatches.is_empty() {
        return Ok(());
    }
    let weights = weights.source().unwrap_or("the container").to_owned();
    Err(ModelError::Mismatch { network, weights, mismatches })
}

fn mismatches(ours: Conventions, parameters: &[Parameter], weights: &Weights) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let mut check = |field: &str, expected: String, value: String| {
        if expected != value {
            found.push(Mismatch { field: field.to_owned(), expected, found: value });
        }
    };
    let theirs = weights.conventions();
    check("activation", ours.activation.to_string(), theirs.activation.to_string());
    check("padding", ours.padding.to_string(), theirs.padding.to_string());
    check("precision", ours.precision.to_string(), theirs.precision.to_string());
    check("classes", ours.classes.to_string(), theirs.classes.to_string());
    if ours.precision != theirs.precision {
        // Every tensor has another type then.
        return found;
    }
    let container = weights.container();
    for parameter in parameters {
        let expected = shape(parameter.dtype.name(), parameter.shape);
        let value = match container.tensor(parameter.name) {
            Some(tensor) => shape(tensor.dtype.name(), tensor.shape.dims()),
            None => "nothing".to_owned(),
        };
        check(parameter.name, expected, value);
    }
    for tensor in container.tensors() {
        let name = tensor.name.to_string();
        if !parameters.iter().any(|parameter| parameter.name == name) {
            check(&name, "nothing".to_owned(), shape(tensor.dtype.name(), tensor.shape.dims()));
        }
    }
    found
}

fn shape(dtype: &str, dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    alloc::format!("{dtype} [{}]", dims.join(", "))
}

/// One thing in which weights differ from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// A tensor's name or a convention.
    pub field: String,
    pub expected: String,
    pub found: String,
}

/// Why a model could not be built.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelError {
    Isa(IsaError),
    Numerics(NumericsError),
    /// All differences at once.
    Mismatch {
        network: &'static str,
        weights: String,
        mismatches: Vec<Mismatch>,
    },
    Pack(PackError),
}

/// Differences that a message lists before it only counts them.
const LISTED: usize = 12;

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isa(error) => error.fmt(f),
            Self::Numerics(error) => error.fmt(f),
            Self::Pack(error) => error.fmt(f),
            Self::Mismatch { network, weights, mismatches } => {
                write!(f, "{weights} does not fit the network {network}:")?;
                for Mismatch { field, expected, found } in mismatches.iter().take(LISTED) {
                    write!(f, "\n  {field}: the network needs {expected}, the file has {found}")?;
                }
                if let Some(more) = mismatches.len().checked_sub(LISTED).filter(|more| *more > 0) {
                    write!(f, "\n  and {more} more")?;
                }
                let precision = mismatches.iter().find(|mismatch| mismatch.field == "precision");
                if let Some(Mismatch { expected, found, .. }) = precision {
                    write!(
                        f,
                        "\nwrite `precision: {found}` into the spec (in the macro: `precision = \"{found}\"`), or "
                    )?;
                    return match expected == Precision::F32.word() {
                        true => f.write_str("import the weights again with `mbvc import --dequantize`"),
                        false => write!(f, "import the weights of a model that is quantised to {expected}"),
                    };
                }
                write!(f, "\nuse the spec that the weights were imported with, or import the weights for this spec")
            }
        }
    }
}

impl core::error::Error for ModelError {}
