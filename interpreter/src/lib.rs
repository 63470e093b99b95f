//! The reference interpreter: executes a graph at any stage of the pipeline, and defines the expected results.
//!
//! It works on NHWC values without a schedule: a fused node runs its stages in sequence, a repack copies. Values with a place
//! are stored there in their layout, so that overlapping live values change the results.

#![warn(missing_docs)]

mod error;
mod float;
mod kernels;
mod machine;
mod memory;
mod params;
mod quantized;
mod random;
mod real;

pub use error::InterpError;
pub use params::{Bindings, parameters};
pub use quantized::{QuantBindings, Values, run_quantized};
pub use random::{random_bindings, random_input};

use mbvc_compiler::ir::verify::verify;
use mbvc_compiler::ir::{Graph, Origin, Shape};

use float::{Float, image};
use machine::{Machine, input_shape};
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
    ///
    /// In bf16 networks, weights and values are rounded to nearest, ties to even, where the graph has the type bf16. If
    /// both factors are bf16, channels are summed in pairs, the second of a pair first. In a block product, `depth` channels
    /// are summed at a time, with even and odd channels summed separately. Subnormal numbers are treated as zero.
    Strict,
    /// f64 in all operations on f32 parameters and image, without any rounding to bf16: the reference for measuring
    /// errors.
    F64,
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
