//! The reference interpreter: executes a graph at any stage of the pipeline, and so defines what is correct.
//!
//! It works on NHWC values and knows no schedule: a fused node is its stages one after the other, a repack copies.
//! Values with a place are kept there, in one scratch and in their layout, so that a plan in which two of them
//! collide gives other numbers.

mod kernels;
mod memory;
mod params;
mod random;
mod real;

pub use params::{Bindings, parameters};
pub use random::{random_bindings, random_input};

use crate::ir::verify::{VerifyErrors, verify};
use crate::ir::{Fused, Graph, NodeId, Op, Origin, Shape, Tensor};
use kernels::{Convolution, Image};
use memory::Memory;
use params::Params;
use real::Real;

/// How numbers are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The strict numerics of generated code, bit by bit, in f32.
    ///
    /// Each output is one chain of fused multiply-adds that starts at the bias: dense taps in raster order with the
    /// channels inner, depthwise taps column by column. Taps in the padding take part as +0.0. Then the activation
    /// (`v > 0 ? v : 0`, and for ReLU6 `v < 6 ? v : 6`), then the residual. The pool adds pixels in raster order to 0
    /// and multiplies by `1 / pixels`.
    Strict,
    /// f64 from the first operation to the last, of parameters and image in f32: the reference that errors are measured
    /// against.
    F64,
}

/// Why a graph could not be executed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// A parameter has no values under its name, nor can it be folded from others.
    #[error("no values for parameter `{0}`")]
    Unbound(String),
    #[error("parameter `{name}` has {expected} values, {found} were given")]
    Length { name: String, expected: usize, found: usize },
    #[error("the network reads {shape}, which is {} values; {found} were given", shape.elements())]
    Input { shape: Shape, found: usize },
    /// A mistake of the compiler.
    #[error(transparent)]
    Broken(#[from] VerifyErrors),
}

/// Executes `graph` on an NHWC image and returns its result.
///
/// `observe` sees every operation's value in NHWC, those of the stages of fused nodes included (and the fused node's
/// own as that of its last stage), in order of execution.
///
/// # Errors
/// If a parameter or the image has no or too few values, or the graph does not verify.
pub fn run(
    graph: &Graph,
    bindings: &dyn Bindings,
    input: &[f32],
    mode: Mode,
    observe: &mut dyn FnMut(&Origin, Shape, &[f32]),
) -> Result<Vec<f32>, InterpError> {
    verify(graph, "interpretation", &[])?;
    match mode {
        Mode::Strict => Machine::<f32>::new(graph, bindings)?.run(input, observe),
        Mode::F64 => Machine::<f64>::new(graph, bindings)?.run(input, observe),
    }
}

struct Machine<'g, T> {
    graph: &'g Graph,
    params: Params<T>,
    memory: Memory<'g, T>,
}

impl<'g, T: Real> Machine<'g, T> {
    fn new(graph: &'g Graph, bindings: &dyn Bindings) -> Result<Self, InterpError> {
        Ok(Self { graph, params: Params::new(graph, bindings)?, memory: Memory::new(graph) })
    }

    fn run(mut self, input: &[f32], observe: &mut dyn FnMut(&Origin, Shape, &[f32])) -> Result<Vec<f32>, InterpError> {
        let mut result = Vec::new();
        let mut see = |origin: &Origin, tensor: Tensor, values: &[T]| {
            result = values.iter().map(|value| value.to_f32()).collect();
            observe(origin, tensor.shape, &result);
        };
        for id in self.graph.order().unwrap_or_default() {
            let node = self.graph.node(id);
            let value = match &node.op {
                Op::Input => image(input, node.tensor.shape)?,
                Op::Fused(fused) => self.fused(id, fused, &mut see),
                op => {
                    let inputs = self.inputs(id);
                    let inputs: Vec<Image<'_, T>> =
                        inputs.iter().map(|(shape, values)| Image { shape: *shape, values }).collect();
                    self.apply(op, &inputs, node.tensor.shape)
                }
            };
            // The last stage has shown it.
            if !matches!(node.op, Op::Fused(_)) {
                see(&node.origin, node.tensor, &value);
            }
            self.memory.write(id, value);
        }
        Ok(result)
    }

    fn inputs(&self, id: NodeId) -> Vec<(Shape, Vec<T>)> {
        let inputs = self.graph.inputs(id).into_iter();
        inputs.map(|input| (self.graph.node(input).tensor.shape, self.memory.read(input))).collect()
    }

    fn fused(&mut self, id: NodeId, fused: &Fused, see: &mut dyn FnMut(&Origin, Tensor, &[T])) -> Vec<T> {
        let mut read = self.inputs(id).into_iter();
        let (mut shape, mut values) = read.next().unwrap_or((Shape::new(0, 0, 0), Vec::new()));
        let added: Vec<(Shape, Vec<T>)> = read.collect();
        self.memory.poison(fused);
        for (at, stage) in fused.stages.iter().enumerate() {
            let mut inputs = vec![Image { shape, values: &values }];
            if at + 1 == fused.stages.len() {
                inputs.extend(added.iter().map(|(shape, values)| Image { shape: *shape, values }));
            }
            let made = self.apply(&stage.op, &inputs, stage.tensor.shape);
            see(&stage.origin, stage.tensor, &made);
            (shape, values) = (stage.tensor.shape, made);
        }
        values
    }

    /// One operation on inputs whose shapes have been verified.
    fn apply(&self, op: &Op, inputs: &[Image<'_, T>], output: Shape) -> Vec<T> {
        let [input, rest @ ..] = inputs else { return Vec::new() };
        let residual = rest.first().map(|residual| residual.values);
        let convolution = |window, weight, bias, epilogue| {
            let bias = match bias {
                Some(bias) => self.params.get(bias).to_vec(),
                None => vec![T::ZERO; output.channels],
            };
            Convolution { window, weight: self.params.get(weight), bias, epilogue, residual }
        };
        match op {
            Op::Conv2d(conv) => convolution(conv.window, conv.weight, conv.bias, conv.epilogue).dense(*input, output),
            Op::DepthwiseConv2d(conv) => {
                convolution(conv.window, conv.weight, conv.bias, conv.epilogue).depthwise(*input, output)
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
        }
    }
}

fn image<T: Real>(input: &[f32], shape: Shape) -> Result<Vec<T>, InterpError> {
    if input.len() != shape.elements() {
        return Err(InterpError::Input { shape, found: input.len() });
    }
    Ok(input.iter().map(|value| T::of(*value)).collect())
}
