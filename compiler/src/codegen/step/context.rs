//! What the statements of a step are generated from, and what they share whatever the number type.

use proc_macro2::TokenStream;

use super::members::Members;
use crate::codegen::backend::Backend;
use crate::codegen::kernel::Kernel;
use crate::ir::{Graph, Node, Place};
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

/// What a reader is told about a node.
pub fn note(node: &Node) -> String {
    let epilogue = node.op.epilogue();
    let averaged = if epilogue.pool.is_some() { ", averaged" } else { "" };
    let (name, shape) = (&node.origin.name, epilogue.unpooled(node.tensor.shape));
    match node.origin.layer {
        Some(layer) => format!("layer {layer}, {name}: {shape}{averaged} (spec line {})", node.origin.line),
        None => format!("{name}: {shape}{averaged}"),
    }
}
