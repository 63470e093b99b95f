//! Code of float networks: float32 vectors, and matrix products by panels of output channels.

mod areas;
mod block;
mod conv;
pub mod kernel;
mod layer;
mod pack;
mod panels;
pub mod ranges;
#[cfg(test)]
pub(crate) mod tests;

use super::step::{Backend, Code, Context};
use crate::ir::NodeId;
pub use pack::PackPlan;

impl Backend for PackPlan {
    fn block(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code {
        block::statements(context, self, id, step, stage)
    }

    fn layer(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code {
        layer::statements(context, self, id, step, stage)
    }
}
