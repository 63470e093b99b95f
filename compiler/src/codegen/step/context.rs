//! What the statements of a step are generated from: a context and the backend of a number type, which use each other.

use std::fmt::Debug;

use mbvc_runtime as runtime;
use proc_macro2::TokenStream;

use super::team::Team;
use crate::codegen::kernel::Kernel;
use crate::ir::{Graph, Node, NodeId, Op, Origin, Place, Tensor};
use crate::target::Isa;

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

/// What statements are generated from.
pub struct Context<'g> {
    pub graph: &'g Graph,
    pub isa: Isa,
    pub backend: &'g dyn Backend,
    pub team: Team,
}

/// Statements, and the kernels that they call.
#[derive(Default)]
pub struct Code {
    pub statements: TokenStream,
    pub kernels: Vec<Kernel>,
}

/// The place of a node's value, an empty one for those that have none.
pub fn place(node: &Node) -> Place {
    node.place.unwrap_or(Place::NONE)
}

/// The comment of a node in generated code.
pub fn note(node: &Node) -> String {
    note_of(&node.origin, &node.op, node.tensor)
}

/// The comment of an operation: its layer, its value and its line in the spec.
pub fn note_of(origin: &Origin, op: &Op, tensor: Tensor) -> String {
    let epilogue = op.epilogue();
    let averaged = if epilogue.pool.is_some() { ", averaged" } else { "" };
    let (name, shape, line) = (&origin.name, epilogue.unpooled(tensor.shape), origin.line);
    match origin.layer {
        Some(layer) => format!("layer {layer}, {name}: {shape}{averaged} (spec line {line})"),
        None => format!("{name}: {shape}{averaged}"),
    }
}
