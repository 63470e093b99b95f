//! Weights by name, without a graph: a state dict of PyTorch, in whatever file.
//!
//! ```text
//! names --family--> layers in order --graph--> SourceGraph
//! ```
//! What a network does between its layers is not in a state dict; the implementation that its names tell has it by
//! convention (`family`), but for strides, which the published table, a spec or the modules themselves give (`strides`).

mod dict;
mod family;
mod graph;
mod layers;
pub mod safetensors;
mod sidecar;
mod strides;

pub use dict::{Module, StateDict, Stored};
pub use graph::read;
pub use sidecar::Sidecar;
