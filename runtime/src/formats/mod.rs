//! The files that the runtime reads: containers of weights, packed weights, and the JSON of both headers.

pub mod container;
pub mod json;
mod magic;
mod metadata;
pub mod packed;
