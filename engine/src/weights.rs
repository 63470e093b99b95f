//! Comparison of weights with networks that are not compiled yet.

use mbvc_compiler::Compiled;
use mbvc_runtime::{ModelError, Weights};

use crate::error::{Error, Result};

/// Compares weights with a network, which messages call `network`.
///
/// # Errors
/// If the weights do not fit the network. The error lists every difference.
pub fn check(compiled: &Compiled, network: &str, weights: &Weights) -> Result {
    let parameters = compiled.parameters();
    let needs = compiled.needs(&parameters);
    let mismatches = needs.mismatches(weights.conventions(), weights.container().header());
    if mismatches.is_empty() {
        return Ok(());
    }
    let weights = weights.source().unwrap_or("the weights file").to_owned();
    Err(ModelError::Mismatch { network: network.to_owned(), weights, mismatches }.into())
}

/// Returns random weights that fit a network, the same in every run.
///
/// # Errors
/// If the network has more tensors than a weights file can have.
pub fn random_weights(compiled: &Compiled) -> Result<Weights> {
    let parameters = compiled.parameters();
    let tensors = parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    Weights::random(tensors, compiled.conventions(), 1).map_err(|cause| Error::new(cause.to_string()))
}
