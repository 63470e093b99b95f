//! What a reader makes of a file: operations over values, in order of execution, with weights still where they lie.
//!
//! Values are numbered; a value is made by the input or by exactly one node, before the nodes that read it
//! (readers check both), so that following readers always ends.

mod constant;
mod fact;
mod format;
mod graph;
mod holder;
mod ops;
mod quant;

pub use constant::{Constant, DType, MAX_RANK, Quantization, Values};
pub use fact::{Fact, replace};
pub use format::Format;
pub use graph::{Hints, MAX_NODES, SourceGraph};
pub use holder::{Holder, Holders, Layout};
pub use ops::{Affine, BatchNorm, Conv, Dense, Kernel, Node, Op, Pads, Place, Value};
pub use quant::{Quantized, Quants, ValueQuant};
