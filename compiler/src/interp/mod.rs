//! The reference interpreter: executes a graph at any stage of the pipeline, and so defines what is correct.
//!
//! It works on NHWC values and knows no schedule: a fused node is its stages one after the other, a repack copies.
//! Values with a place are kept there, in one scratch and in their layout, so that a plan in which two of them
//! collide gives other numbers.

mod float;
mod kernels;
mod machine;
mod memory;
mod params;
mod quantized;
mod random;
mod real;

pub use params::{Bindings, parameters};
pub use quantized::{QuantBindings, Values, run_quantized};
pub use random::{random_bindings, random_input};

use crate::ir::verify::{VerifyErrors, verify};
use crate::ir::{Graph, Origin, Shape};
use float::{Float, image};
use machine::{Machine, input_shape};
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
    /// A parameter has more or fewer values than its shape asks for.
    #[error("parameter `{name}` has {expected} values, {found} were given")]
    Length {
        /// The parameter's.
        name: String,
        /// Values by its shape.
        expected: usize,
        /// Values that were bound.
        found: usize,
    },
    /// The image has another size than the network reads.
    #[error("the network reads {shape}, which is {} values; {found} were given", shape.elements())]
    Input {
        /// What the network reads.
        shape: Shape,
        /// Values that were given.
        found: usize,
    },
    /// A parameter was bound to values of another type.
    #[error("parameter `{name}` is {found}, the network wants {expected}")]
    Type {
        /// The parameter's.
        name: String,
        /// `f32`, `i8`, `u8` or `i32`, as the graph has it.
        expected: &'static str,
        /// As it was bound.
        found: &'static str,
    },
    /// No scale that is finite and above 0, or a number outside of its type.
    #[error("{name} holds {value}, which is out of range")]
    Range {
        /// The parameter's; `the image` or `a zero point` where it has no name.
        name: String,
        /// The first number that is out of range.
        value: String,
    },
    /// [`run`] was given a quantized graph, or [`run_quantized`] one of floats.
    #[error("a float32 network cannot be executed in integers, nor a quantized one in floats")]
    NotQuantized,
    /// An operand of a residual add has a scale too far from the sum's.
    #[error("a residual add's scales are too far apart: an operand's must be from 1/1024 to 256 times the result's")]
    ScalesApart,
    /// The average asks for another scale or zero point, or for more pixels, than the kernels that are followed take.
    #[error("the average pool must keep scale and zero point, of at most 4194304 pixels")]
    Pool,
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
    if graph.ids().any(|id| graph.node(id).tensor.quant.is_some()) {
        return Err(InterpError::NotQuantized);
    }
    match mode {
        Mode::Strict => run_float::<f32>(graph, bindings, input, observe),
        Mode::F64 => run_float::<f64>(graph, bindings, input, observe),
    }
}

fn run_float<T: Real>(
    graph: &Graph,
    bindings: &dyn Bindings,
    input: &[f32],
    observe: &mut dyn FnMut(&Origin, Shape, &[f32]),
) -> Result<Vec<f32>, InterpError> {
    let machine = Machine::new(graph, Float::<T>::new(graph, bindings)?);
    let mut result = Vec::new();
    machine.run(&image(input, input_shape(graph))?, &mut |origin, tensor, values| {
        result = values.iter().map(|value| value.to_f32()).collect();
        observe(origin, tensor.shape, &result);
    })?;
    Ok(result)
}
