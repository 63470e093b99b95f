//! What the statements of a step are generated from, and what they share whatever the number type.

use proc_macro2::TokenStream;

use super::members::Members;
use crate::codegen::backend::Backend;
use crate::codegen::kernel::Kernel;
use crate::ir::{Graph, Node, Op, Origin, Place, Tensor};
use crate::target::Isa;

/// What statements are generated from.
pub struct Context<'g> {
    pub graph: &'g Graph,
    pub isa: Isa,
    pub backend: &'g dyn Backend,
    pub team: Members,
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
