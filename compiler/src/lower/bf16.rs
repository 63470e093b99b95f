//! Element types of the values of bf16 networks.
//!
//! Matrix products read bf16; everything else reads float32: depthwise convolutions, the pool and what follows it. So a
//! value is stored as bf16 if and only if a product reads it, and rounded once, when it is stored. Fusion removes
//! values, but never one that is stored as bf16 between two remaining operations, so the results do not
//! depend on the fusion level.

use crate::ir::{ElementType, Factors, Graph, NodeId, Op};

/// Sets the element type of each value.
pub fn assign_elements(graph: &mut Graph) {
    // Readers before producers: an activation has the type of its result.
    for id in graph.order().unwrap_or_default().into_iter().rev() {
        if graph.readers(id).into_iter().any(|reader| reads_bf16(graph, reader, id)) {
            graph.node_mut(id).tensor.element = ElementType::Bf16;
        }
    }
}

fn reads_bf16(graph: &Graph, reader: NodeId, value: NodeId) -> bool {
    let node = graph.node(reader);
    match &node.op {
        Op::Conv2d(conv) => conv.factors == Factors::Bf16 && graph.inputs(reader).first() == Some(&value),
        // Rounding is monotonic and keeps 0 and 6, so it may precede the activation.
        Op::Activation(_) => node.tensor.element == ElementType::Bf16,
        _ => false,
    }
}
