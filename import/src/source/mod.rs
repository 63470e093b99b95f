//! The graph that readers translate a file to: operations over values in order of execution, with weights borrowed from
//! the file.
//!
//! Values are numbered. A value is the input or is produced by exactly one node, before the nodes that read it. Format
//! readers check both, so that traversal terminates.

mod channels;
mod constant;
mod fact;
mod format;
mod graph;
mod holder;
mod ops;
mod order;
mod quant;

pub use channels::{Selected, reversed};
pub use constant::{Constant, DType, MAX_RANK, Quantization, Values};
pub use fact::{Fact, replace};
pub use format::Format;
pub use graph::{Hints, MAX_NODES, Output, SourceGraph};
pub use holder::{Holder, Holders, Layout};
pub use ops::{Affine, Arithmetic, BatchNorm, Conv, Dense, Kernel, Node, Op, Pads, Place, Value, decimal};
pub use order::dependencies;
pub use quant::{Quantized, Quants, ValueQuant};
