//! Builds a model: checks the weights against the network, chooses an instruction set and packs the weights for it.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::fit::{Listing, Mismatch, Remedy};
use crate::float::pack::{PackError, Plan};
use crate::isa::{Isa, IsaError, choose};
use crate::network::{BaseModel, NetworkInfo};
use crate::numerics::NumericsError;
use crate::scratch::{Packed, Pages};
use crate::weights::{Weights, WeightsError};

/// Checks `weights` against the network, chooses an instruction set and packs the weights for it.
///
/// # Errors
/// If the weights do not fit the network, or no instruction set can be chosen. The error lists every difference of the
/// weights.
pub fn build<P: Plan + 'static>(
    info: &'static NetworkInfo,
    plan: impl FnOnce(Isa) -> Option<&'static P>,
    weights: &Weights,
    isa: Option<Isa>,
) -> Result<BaseModel, ModelError> {
    let isa = choose(info.isas, isa).map_err(|error| ModelError::Isa(error.of(info.conventions.precision)))?;
    let mismatches = info.needs().mismatches(weights.conventions(), weights.container().header());
    if !mismatches.is_empty() {
        let weights = weights.source().unwrap_or("the weights file").to_owned();
        return Err(ModelError::Mismatch { network: info.name.to_owned(), weights, mismatches });
    }
    let plan = plan(isa.isa()).ok_or(ModelError::Isa(IsaError::NoneCompiled { compiled: info.isas }))?;
    let (numerics, preprocess) = (info.numerics.choose().map_err(ModelError::Numerics)?, weights.preprocessing());
    info.needs().check_finite(&weights.container()).map_err(ModelError::Pack)?;
    let mut block = Pages::zeroed(plan.lines());
    plan.pack(&weights.container(), &preprocess, numerics, &mut block).map_err(ModelError::Pack)?;
    Ok(BaseModel {
        packed: Packed::Owned(Arc::new(block)),
        isa,
        preprocess,
        metadata: Arc::new(weights.classifier_metadata()),
    })
}

/// Why a model could not be built.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelError {
    /// No instruction set could be chosen.
    Isa(IsaError),
    /// `MBVC_NUMERICS` has an unknown value.
    Numerics(NumericsError),
    /// The bytes are not a valid weights file.
    Weights(String),
    /// The weights are not those of the network.
    Mismatch {
        /// Name of the network's type, or what a tool calls it.
        network: String,
        /// [`Weights::source`], or `the weights file`.
        weights: String,
        /// Every difference; at least one.
        mismatches: Vec<Mismatch>,
    },
    /// The weights have the right tensors, but some of their values cannot be packed.
    Pack(PackError<'static>),
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isa(error) => error.fmt(f),
            Self::Numerics(error) => error.fmt(f),
            Self::Pack(error) => error.fmt(f),
            Self::Weights(message) => f.write_str(message),
            Self::Mismatch { network, weights, mismatches } => {
                let (listing, remedy) = (Listing(mismatches), Remedy(mismatches));
                write!(f, "{weights} does not fit the network {network}:{listing}\n{remedy}")
            }
        }
    }
}

impl core::error::Error for ModelError {}

impl From<WeightsError> for ModelError {
    fn from(error: WeightsError) -> Self {
        Self::Weights(error.to_string())
    }
}
