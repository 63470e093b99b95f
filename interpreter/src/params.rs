//! Values of parameters: bound by name, or folded from bound ones.

use std::collections::{BTreeMap, HashMap};

use mbvc_compiler::ir::{Graph, ParamId, ParamSource};

use super::error::InterpError;
use super::real::Real;

/// Values of parameters by canonical name, in canonical layout.
pub trait Bindings {
    /// The values of a parameter; `None` if it is not bound.
    fn get(&self, name: &str) -> Option<&[f32]>;
}

impl Bindings for BTreeMap<String, Vec<f32>> {
    fn get(&self, name: &str) -> Option<&[f32]> {
        BTreeMap::get(self, name).map(Vec::as_slice)
    }
}

impl Bindings for HashMap<String, Vec<f32>> {
    fn get(&self, name: &str) -> Option<&[f32]> {
        HashMap::get(self, name).map(Vec::as_slice)
    }
}

/// The values of all parameters that operations of `graph` read, by name.
///
/// After `fold_batch_norm` these are the tensors of a container. Parameters that are not bound are folded in f64 and
/// rounded once.
///
/// # Errors
/// If a parameter has no values, or a number of values that differs from its shape.
pub fn parameters(graph: &Graph, bindings: &dyn Bindings) -> Result<BTreeMap<String, Vec<f32>>, InterpError> {
    graph.used_params().into_iter().map(|id| Ok((graph.param(id).name.clone(), values(graph, bindings, id)?))).collect()
}

/// The parameters of one execution.
pub struct Params<T>(BTreeMap<ParamId, Vec<T>>);

impl<T: Real> Params<T> {
    pub fn new(graph: &Graph, bindings: &dyn Bindings) -> Result<Self, InterpError> {
        let all = graph.used_params().into_iter().map(|id| {
            let values = values(graph, bindings, id)?;
            Ok((id, values.into_iter().map(T::of).collect()))
        });
        Ok(Self(all.collect::<Result<_, InterpError>>()?))
    }

    /// The values of a parameter that an operation of the graph reads.
    pub fn get(&self, id: ParamId) -> &[T] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }
}

fn values(graph: &Graph, bindings: &dyn Bindings, id: ParamId) -> Result<Vec<f32>, InterpError> {
    let param = graph.param(id);
    match (&param.source, bindings.get(&param.name)) {
        (_, Some(values)) => {
            let expected = param.shape.iter().product();
            if values.len() == expected {
                Ok(values.to_vec())
            } else {
                Err(InterpError::Length { name: param.name.clone(), expected, found: values.len() })
            }
        }
        (ParamSource::Stored, None) => Err(InterpError::Unbound(param.name.clone())),
        (ParamSource::FoldedWeight { weight, gamma, variance, epsilon }, None) => {
            let (weight, [gamma, variance]) = (read(graph, bindings, *weight)?, [*gamma, *variance]);
            let (gamma, deviation) =
                (read(graph, bindings, gamma)?, deviation(&read(graph, bindings, variance)?, *epsilon));
            let rows = weight.chunks(gamma.len().max(1));
            Ok(rows
                .flat_map(|row| row.iter().zip(&gamma).zip(&deviation))
                .map(|((weight, gamma), deviation)| (weight * gamma / deviation) as f32)
                .collect())
        }
        (ParamSource::FoldedBias { gamma, beta, mean, variance, epsilon }, None) => {
            let (gamma, beta) = (read(graph, bindings, *gamma)?, read(graph, bindings, *beta)?);
            let (mean, variance) = (read(graph, bindings, *mean)?, read(graph, bindings, *variance)?);
            let factors = gamma.iter().zip(deviation(&variance, *epsilon));
            let shifted = beta.iter().zip(&mean).zip(factors);
            Ok(shifted.map(|((beta, mean), (gamma, deviation))| (beta - mean * gamma / deviation) as f32).collect())
        }
    }
}

/// The source of a recipe. The verifier checks that it is stored, so that the recursion ends.
fn read(graph: &Graph, bindings: &dyn Bindings, id: ParamId) -> Result<Vec<f64>, InterpError> {
    Ok(values(graph, bindings, id)?.into_iter().map(f64::from).collect())
}

fn deviation(variance: &[f64], epsilon: f64) -> Vec<f64> {
    variance.iter().map(|variance| (variance + epsilon).sqrt()).collect()
}
