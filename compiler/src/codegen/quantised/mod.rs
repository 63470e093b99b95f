//! Code of quantised networks: bytes between the image and the logits, dot products of four.
//!
//! A fused block is streamed by row quads; head and classifier go over whole values. What depends
//! on parameters' values was decided when they were packed.

mod block;
pub mod cost;
mod kernel;
mod layer;
mod network;
pub mod phases;
mod plan;
pub mod taps;
#[cfg(test)]
mod tests;
mod whole;

pub use block::statements as block;
pub use network::network_type;
pub use plan::{Plan, split};
pub use whole::statements as whole;
