//! Moves the global average pool into the epilogue of the convolution before it. The convolution's result is then
//! never written.
//!
//! ```text
//! before: %7 = conv2d 1x1/1 %6 relu6 : 7x7x1280      after: %7 = conv2d 1x1/1 %6 relu6 pool 7x7 : 1x1x1280
//!         %8 = global_avg_pool %7 : 1x1x1280
//! ```
//!
//! Precondition: activations are fused, so that an activation before the pool would be visible. Postcondition: no pool
//! reads a convolution that could compute it. Pixels are added in the same order, so the result is bit-identical.

use super::{Remark, remark, sole_input};
use crate::ir::verify::Postcondition;
use crate::ir::{Graph, NodeId, Op};

/// Moves the pool into the convolution before it, if that convolution has no other reader. Returns a remark if the
/// pool remains.
pub fn fuse_pool(graph: &mut Graph) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for id in graph.order().unwrap_or_default() {
        if !matches!(graph.node(id).op, Op::GlobalAvgPool) {
            continue;
        }
        match fusable(graph, id) {
            Ok(conv) => {
                let pooled = graph.node(id).tensor;
                let node = graph.node_mut(conv);
                if let Op::Conv2d(op) = &mut node.op {
                    op.epilogue.pool = Some([node.tensor.shape.height, node.tensor.shape.width]);
                }
                node.tensor = pooled;
                graph.replace(id, conv);
            }
            Err(why) => remarks.push(remark(graph, Postcondition::PoolFused, id, format!("not fused: {why}"))),
        }
    }
    remarks
}

/// Returns the convolution that can compute the pool `id`.
fn fusable(graph: &Graph, id: NodeId) -> Result<NodeId, String> {
    let input = sole_input(graph, id, 0)?;
    let node = graph.node(input);
    let name = &node.origin.name;
    match &node.op {
        Op::Conv2d(conv) if !conv.window.is_point() => Err(format!("{name} is not pointwise")),
        Op::Conv2d(conv) if conv.epilogue.residual => Err(format!("{name} adds a residual")),
        Op::Conv2d(_) if node.origin.step != graph.node(id).origin.step => Err(format!("{name} is in another step")),
        Op::Conv2d(_) => Ok(input),
        _ => Err(format!("{name} is not a dense convolution")),
    }
}
