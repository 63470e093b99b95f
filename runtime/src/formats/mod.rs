//! File formats of the runtime: containers of weights, packed weights, and the JSON of a container's header.

pub mod container;
pub mod json;
mod magic;
mod metadata;
pub mod packed;
