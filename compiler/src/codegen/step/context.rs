//! The context in which the statements of a step are generated, and the backend of a number type. The two depend on
//! each other.

use std::fmt::Debug;

use mbvc_runtime as runtime;
use proc_macro2::TokenStream;

use super::team::Team;
use crate::codegen::kernel::Kernel;
use crate::ir::{Graph, Node, NodeId, Op, Origin, Place, Tensor};
use crate::schedule::instructions::Predictor;
use crate::target::Isa;

/// Key of a layer: a node, and the index of its stage if it is fused.
pub type LayerKey = (NodeId, usize);

/// The runtime's plan of a network's packed weights.
pub trait RuntimePlan: Debug {
    /// Returns the plan as a constant expression.
    fn tokens(&self) -> TokenStream;

    /// Calls `run` with the plan, which borrows from this one. Commands use it to pack weights for any instruction set,
    /// since packing runs none of its code.
    fn with_plan(&self, run: &mut dyn FnMut(&dyn runtime::Plan));
}

/// Code generator for one number type. The stages of a node are numbered from `stage` in step `step`.
pub trait Backend: RuntimePlan {
    /// Returns the statements of the fused node `id`.
    fn block(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code;

    /// Returns the statements of any other node.
    fn layer(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code;
}

/// Context in which statements are generated.
pub struct Context<'g> {
    pub graph: &'g Graph,
    pub isa: Isa,
    pub backend: &'g dyn Backend,
    pub team: Team,
    /// Predictor of the graph's instruction counts, or `None` if the network has no cost model.
    pub predictor: Option<&'g Predictor<'g>>,
}

/// Statements, and the kernels that they call.
#[derive(Default)]
pub struct Code {
    pub statements: TokenStream,
    pub kernels: Vec<Kernel>,
}

/// Returns the place of a node's value, or an empty place if it has none.
pub fn place(node: &Node) -> Place {
    node.place.unwrap_or(Place::NONE)
}

/// Returns the comment of a node in generated code.
pub fn note(node: &Node) -> String {
    note_of(&node.origin, &node.op, node.tensor)
}

/// Returns the comment of an operation: its layer, its value and its line in the spec.
pub fn note_of(origin: &Origin, op: &Op, tensor: Tensor) -> String {
    let epilogue = op.epilogue();
    let averaged = if epilogue.pool.is_some() { ", averaged" } else { "" };
    let (name, shape, line) = (&origin.name, epilogue.unpooled(tensor.shape), origin.line);
    match origin.layer {
        Some(layer) => format!("layer {layer}, {name}: {shape}{averaged} (spec line {line})"),
        None => format!("{name}: {shape}{averaged}"),
    }
}
