//! Errors of an execution.

use mbvc_compiler::ir::Shape;
use mbvc_compiler::ir::verify::VerifyErrors;

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
    /// [`run`](super::run) on a quantized graph, or [`run_quantized`](super::run_quantized) on a float graph.
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
