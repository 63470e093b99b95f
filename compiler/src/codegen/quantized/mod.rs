//! Code of quantized networks: 8-bit values from the image to the logits, and dot products of four.
//!
//! A fused block is streamed by row quads. Head and classifier run over whole values. Choices that depend on the
//! values of parameters are made when they are packed.

mod block;
mod kernel;
mod layer;
mod pack;
#[cfg(test)]
mod tests;

use super::step::{Backend, Code, Context};
use crate::ir::NodeId;
pub use pack::Plan;

impl Backend for Plan {
    fn block(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code {
        block::statements(context, self, id, step, stage)
    }

    fn layer(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code {
        layer::statements(context, self, id, step, stage)
    }
}
