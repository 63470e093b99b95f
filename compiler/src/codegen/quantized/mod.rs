//! Code of quantized networks: bytes between the image and the logits, dot products of four.
//!
//! A fused block is streamed by row quads; head and classifier go over whole values. What depends
//! on parameters' values was decided when they were packed.

mod block;
mod kernel;
mod layer;
mod pack;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;

use super::step::Backend;
use super::step::{Code, Context};
use crate::ir::NodeId;
pub use pack::Plan;

impl Backend for Plan {
    fn block(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code {
        block::statements(context, self, id, step, stage)
    }

    fn layer(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code {
        layer::statements(context, self, id, step, stage)
    }

    fn lines(&self) -> usize {
        self.lines()
    }

    fn tokens(&self) -> TokenStream {
        self.tokens()
    }

    fn with_plan(&self, run: &mut dyn FnMut(&dyn mbvc_runtime::Plan)) {
        self.with_plan(run);
    }
}
