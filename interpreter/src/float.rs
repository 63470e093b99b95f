//! Graphs of float32 values, executed in f32 or f64.

use mbvc_compiler::ir::{Graph, Op, Shape, Tensor};

use super::error::InterpError;
use super::kernels::{self, Convolution, Image};
use super::machine::Arithmetic;
use super::params::{Bindings, Params};
use super::real::Real;

pub struct Float<T> {
    params: Params<T>,
}

impl<T: Real> Float<T> {
    pub fn new(graph: &Graph, bindings: &dyn Bindings) -> Result<Self, InterpError> {
        Ok(Self { params: Params::new(graph, bindings)? })
    }
}

impl<T: Real> Arithmetic for Float<T> {
    type Number = T;

    fn apply(&self, op: &Op, inputs: &[Image<'_, T>], output: Tensor) -> Result<Vec<T>, InterpError> {
        let [input, rest @ ..] = inputs else { return Ok(Vec::new()) };
        let residual = rest.first().map(|residual| residual.values);
        let convolution = |window, weight, bias| {
            let bias = match bias {
                Some(bias) => self.params.get(bias).to_vec(),
                None => vec![T::ZERO; output.shape.channels],
            };
            Convolution { window, weight: self.params.get(weight), bias }
        };
        Ok(match op {
            Op::Conv2d(conv) => {
                let shape = conv.epilogue.unpooled(output.shape);
                let sums = convolution(conv.window, conv.weight, conv.bias).dense(*input, shape);
                let result = kernels::finish(sums, conv.epilogue, residual);
                match conv.epilogue.pool {
                    Some(_) => kernels::pool(Image { shape, quant: None, values: &result }),
                    None => result,
                }
            }
            Op::DepthwiseConv2d(conv) => {
                let sums = convolution(conv.window, conv.weight, conv.bias).depthwise(*input, output.shape);
                kernels::finish(sums, conv.epilogue, residual)
            }
            Op::BatchNorm(norm) => {
                let [gamma, beta, mean, variance] =
                    [norm.gamma, norm.beta, norm.mean, norm.variance].map(|param| self.params.get(param));
                kernels::batch_norm(input.values, gamma, beta, mean, variance, norm.epsilon)
            }
            Op::Activation(activation) => input.values.iter().map(|v| kernels::activate(*v, *activation)).collect(),
            Op::Add => match residual {
                Some(other) => input.values.iter().zip(other).map(|(a, b)| a.add(*b)).collect(),
                None => input.values.to_vec(),
            },
            Op::GlobalAvgPool => kernels::pool(*input),
            Op::Dense(dense) => {
                kernels::dense(input.values, self.params.get(dense.weight), self.params.get(dense.bias))
            }
            Op::Repack | Op::Input | Op::Fused(_) => input.values.to_vec(),
        })
    }
}

/// Converts the caller's image to the number type of the execution.
pub fn image<T: Real>(input: &[f32], shape: Shape) -> Result<Vec<T>, InterpError> {
    if input.len() != shape.elements() {
        return Err(InterpError::Input { shape, found: input.len() });
    }
    Ok(input.iter().map(|value| T::of(*value)).collect())
}
