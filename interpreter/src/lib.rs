//! The reference interpreter: executes a graph at any stage of the pipeline, and defines the expected results.
//!
//! It works on NHWC values without a schedule: a fused node runs its stages in sequence, a repack copies. Values with a place
//! are stored there in their layout, so that overlapping live values change the results.

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

use float::{Float, image};
use machine::{Machine, input_shape};
use mbvc_compiler::ir::verify::{VerifyErrors, verify};
use mbvc_compiler::ir::{Graph, Origin, Shape};
use real::Real;

/// Precision of the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The strict numerics of generated code, bit by bit, in f32.
    ///
    /// Each output is one chain of fused multiply-adds that starts at the bias: dense taps in raster order with the
    /// channels inner, depthwise taps column by column. Taps in the padding take part as +0.0. Then the activation
    /// (`v > 0 ? v : 0`, and for ReLU6 `v < 6 ? v : 6`), then the residual. The pool adds pixels in raster order to 0
    /// and multiplies by `1 / pixels`.
    Strict,
    /// f64 in all operations on f32 parameters and image: the reference for measuring errors.
    F64,
}

/// Errors of an execution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// A parameter has no values and cannot be folded from others.
    #[error("no values for parameter `{0}`")]
    Unbound(String),
    /// The number of values of a parameter differs from its shape.
    #[error("expected {expected} values for parameter `{name}`, found {found}")]
    Length {
        /// Name of the parameter.
        name: String,
        /// Values of its shape.
        expected: usize,
        /// Bound values.
        found: usize,
    },
    /// The size of the image differs from the network's input.
    #[error("expected an image of shape {shape} with {} values, found {found}", shape.elements())]
    Input {
        /// Shape of the network's input.
        shape: Shape,
        /// Values of the image.
        found: usize,
    },
    /// The type of the values of a parameter differs from the network's.
    #[error("expected {expected} for parameter `{name}`, found {found}")]
    Type {
        /// Name of the parameter.
        name: String,
        /// Type in the graph: `f32`, `i8`, `u8` or `i32`.
        expected: &'static str,
        /// Type of the bound values.
        found: &'static str,
    },
    /// A scale that is not finite and positive, or a number out of the range of its type.
    #[error("value {value} of {name} is out of range")]
    Range {
        /// Name of the parameter, or `the image` or `a zero point`.
        name: String,
        /// The first number that is out of range.
        value: String,
    },
    /// [`run`] on a quantized graph, or [`run_quantized`] on a float graph.
    #[error("the number types of the network and the execution differ")]
    NotQuantized,
    /// The scale of an operand of a residual add is too far from that of the sum.
    #[error("expected scales of residual operands from 1/1024 to 256 times that of the sum")]
    ScalesApart,
    /// The average pool changes scale or zero point, or has too many pixels for the reference kernels.
    #[error("expected an average pool of at most 4194304 pixels that keeps scale and zero point")]
    Pool,
    /// An invalid graph, which is a bug of the compiler.
    #[error(transparent)]
    Broken(#[from] VerifyErrors),
}

/// Executes `graph` on an NHWC image and returns its result.
///
/// `observe` is called with the NHWC value of every operation in order of execution, including the stages of fused nodes;
/// the value of a fused node is that of its last stage.
///
/// # Errors
/// If the number of values of a parameter or the image is wrong, or the graph is invalid.
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
