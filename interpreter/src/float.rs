//! Graphs of float32 values, executed in f32 or f64.

use std::borrow::Cow;

use mbvc_compiler::ir::{ElementType, Factors, Graph, Op, ParamId, Product, Shape, Tensor};

use super::error::InterpError;
use super::kernels::{self, Convolution, Image, Order};
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
        let values = self.exact(op, inputs, output)?;
        Ok(match output.element {
            ElementType::Bf16 => values.into_iter().map(T::to_bf16).collect(),
            _ => values,
        })
    }
}

impl<T: Real> Float<T> {
    /// Returns weights as they are multiplied.
    fn weight(&self, weight: ParamId, factors: Factors) -> Cow<'_, [T]> {
        let weight = self.params.get(weight);
        match factors.round_weights() {
            true => weight.iter().map(|weight| weight.to_bf16()).collect(),
            false => weight.into(),
        }
    }

    /// Computes one operation, before its result is rounded to the type of `output`.
    fn exact(&self, op: &Op, inputs: &[Image<'_, T>], output: Tensor) -> Result<Vec<T>, InterpError> {
        let [input, rest @ ..] = inputs else { return Ok(Vec::new()) };
        let residual = rest.first().map(|residual| residual.values);
        let bias = |bias: Option<ParamId>| match bias {
            Some(bias) => self.params.get(bias).to_vec(),
            None => vec![T::ZERO; output.shape.channels],
        };
        Ok(match op {
            Op::Conv2d(conv) => {
                let shape = conv.epilogue.unpooled(output.shape);
                let weight = self.weight(conv.weight, conv.factors);
                let layer = Convolution { window: conv.window, weight: &weight, bias: bias(conv.bias) };
                let order = match (conv.product, conv.factors) {
                    (Product::Blocks { depth }, _) => Order::Blocks { depth },
                    (_, Factors::Bf16) => Order::Pairs,
                    _ => Order::Raster,
                };
                let sums = layer.dense(*input, shape, order);
                let result = kernels::finish(sums, conv.epilogue, residual);
                match conv.epilogue.pool {
                    Some(_) => kernels::pool(Image { shape, quant: None, values: &result }),
                    None => result,
                }
            }
            Op::DepthwiseConv2d(conv) => {
                let weight = self.params.get(conv.weight);
                let layer = Convolution { window: conv.window, weight, bias: bias(conv.bias) };
                let sums = layer.depthwise(*input, output.shape);
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
                let weight = self.weight(dense.weight, dense.factors);
                kernels::dense(input.values, &weight, self.params.get(dense.bias))
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
