//! What code generation needs of a number type: the statements of steps, and the plan that packs weights.

use std::fmt::Debug;

use mbvc_runtime as runtime;
use proc_macro2::TokenStream;

use super::step::{Code, Context};
use crate::ir::NodeId;

/// Names a layer: a node, or a stage of a fused one.
pub type LayerKey = (NodeId, usize);

/// Code of one number type. What it returns of a node counts stages from `stage` in step `step`.
pub trait Backend: Debug {
    /// The statements of the fused node `id`.
    fn block(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code;

    /// The statements of any other node.
    fn layer(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code;

    /// Cache lines of the packed block.
    fn lines(&self) -> usize;

    /// The runtime's plan as a constant expression.
    fn tokens(&self) -> TokenStream;

    /// Calls `run` with the runtime's plan, which borrows from this one: for commands that pack. Weights can be packed for
    /// any instruction set, since none of its code runs.
    fn with_plan(&self, run: &mut dyn FnMut(&dyn runtime::Plan));
}
