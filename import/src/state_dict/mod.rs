//! Weights by name without a graph: PyTorch state dicts, from any file format.
//!
//! ```text
//! names --family--> layers in order --graph--> SourceGraph
//! ```
//! A state dict does not contain the operations between layers. They are conventions of the implementation that the names
//! identify (`family`). Strides come from the published table, a spec or attributes of modules (`strides`).

mod account;
mod conv_head;
mod conventions;
mod dict;
mod family;
mod graph;
mod head;
mod kind;
mod layers;
mod modules;
mod parametrization;
pub mod safetensors;
mod sidecar;
mod strides;
mod values;

#[cfg(test)]
mod tests;

pub use conventions::conventions;
pub use dict::{EXPORT, Module, RESIDUALS, StateDict, Stored};
pub use graph::read;
pub use parametrization::weight_norm;
pub use sidecar::Sidecar;
