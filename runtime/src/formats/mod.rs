//! File formats of the runtime: weights files (safetensors), packed weights, and the JSON of a weights file's header.

mod checksum;
pub mod container;
pub mod json;
mod magic;
pub mod metadata;
pub mod packed;
