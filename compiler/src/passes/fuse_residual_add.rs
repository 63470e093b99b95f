//! Moves the residual add into the epilogue of the projection.
//!
//! ```text
//! before: %7 = conv2d 1x1/1 %6      after: %7 = conv2d 1x1/1 %6 add %3
//!         %8 = add %7, %3
//! ```
//!
//! Precondition: activations are fused, so that an activation after the add would be visible. Postcondition: no add
//! reads a convolution that could compute it. The sum has the same operands, so the result is bit-identical.

use super::{Remark, remark, sole_input};
use crate::ir::verify::Postcondition;
use crate::ir::{Graph, NodeId, Op};

/// Moves each add into the projection that produces its operand, if the add is the only reader. Returns a remark for
/// each add that remains.
pub fn fuse_residual_add(graph: &mut Graph) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for id in graph.order().unwrap_or_default() {
        if !matches!(graph.node(id).op, Op::Add) {
            continue;
        }
        match fusable(graph, id) {
            Ok((conv, residual)) => {
                if let Op::Conv2d(op) = &mut graph.node_mut(conv).op {
                    op.epilogue.residual = true;
                }
                // A quantized sum has a separate scale.
                graph.node_mut(conv).tensor = graph.node(id).tensor;
                graph.push_input(conv, residual);
                graph.replace(id, conv);
            }
            Err(why) => remarks.push(remark(graph, Postcondition::ResidualFused, id, format!("not fused: {why}"))),
        }
    }
    remarks
}

/// Returns the convolution that can compute the add `id`, and the value to add.
fn fusable(graph: &Graph, id: NodeId) -> Result<(NodeId, NodeId), String> {
    let result = sole_input(graph, id, 0)?;
    let residual = graph.inputs(id).get(1).copied().ok_or("it has one operand")?;
    let node = graph.node(result);
    match &node.op {
        Op::Conv2d(conv) if conv.epilogue.residual => Err(format!("{} already adds a residual", node.origin.name)),
        Op::Conv2d(_) => Ok((result, residual)),
        _ => Err(format!("{} is not a dense convolution", node.origin.name)),
    }
}
