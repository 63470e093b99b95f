//! Moves activations into the epilogue of the convolution before them.
//!
//! ```text
//! before: %2 = conv2d %1           after: %2 = conv2d %1 relu6
//!         %3 = relu6 %2
//! ```
//!
//! Precondition: batch normalization is folded. Postcondition: no activation reads a convolution that could apply it.
//! The result is bit-identical: the epilogue applies the same operation to an accumulator that the node applied to
//! memory.

use super::{Remark, remark, sole_input};
use crate::ir::verify::Postcondition;
use crate::ir::{Graph, NodeId, Op};

/// Moves each activation into the convolution before it, if that convolution has no other reader. Returns a remark for
/// each activation that remains.
pub fn fuse_activation(graph: &mut Graph) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for id in graph.order().unwrap_or_default() {
        let Op::Activation(activation) = graph.node(id).op else { continue };
        match fusable(graph, id) {
            Ok(conv) => {
                match &mut graph.node_mut(conv).op {
                    Op::Conv2d(op) => op.epilogue.activation = Some(activation),
                    Op::DepthwiseConv2d(op) => op.epilogue.activation = Some(activation),
                    _ => {}
                }
                graph.replace(id, conv);
            }
            Err(why) => remarks.push(remark(graph, Postcondition::ActivationFused, id, format!("not fused: {why}"))),
        }
    }
    remarks
}

/// Returns the convolution that can apply the activation `id`.
fn fusable(graph: &Graph, id: NodeId) -> Result<NodeId, String> {
    let input = sole_input(graph, id, 0)?;
    let node = graph.node(input);
    let name = &node.origin.name;
    if node.op.window().is_none() {
        return Err(format!("{name} is not a convolution"));
    }
    let epilogue = node.op.epilogue();
    match (epilogue.activation, epilogue.residual) {
        (_, true) => Err(format!("{name} adds a residual, which an epilogue adds after the activation")),
        (Some(activation), _) => Err(format!("{name} already applies {}", activation.word())),
        (None, false) => Ok(input),
    }
}
