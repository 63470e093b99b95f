//! Folds batch normalization into the convolution before it.
//!
//! ```text
//! before: %2 = conv2d %1 {stem.raw_weight}          after: %2 = conv2d %1 {stem.weight, stem.bias}
//!         %3 = batch_norm %2 {stem.bn.gamma, ...}
//! ```
//!
//! Precondition: the graph is as lowered. Postcondition: the graph has no batch normalization, and every convolution
//! has a bias. The new parameters are recipes: their values are folded in f64 when weights are imported.

use super::{Remark, remark, sole_input};
use crate::ir::verify::Postcondition;
use crate::ir::{BatchNorm, ElementType, Graph, NodeId, Op, Param, ParamId, ParamSource};

/// Suffix of the names of weights before folding.
const RAW: &str = ".raw_weight";

/// Folds each batch normalization into the convolution before it, if that convolution has no other reader. Returns a
/// remark for each batch normalization that remains.
pub fn fold_batch_norm(graph: &mut Graph) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for id in graph.order().unwrap_or_default() {
        let Op::BatchNorm(norm) = graph.node(id).op.clone() else { continue };
        match foldable(graph, id) {
            Ok((conv, raw)) => fold(graph, id, &norm, conv, raw),
            Err(why) => remarks.push(remark(graph, Postcondition::BatchNormFolded, id, format!("not folded: {why}"))),
        }
    }
    remarks
}

/// Returns the convolution that the batch normalization `id` can be folded into, and its weights.
fn foldable(graph: &Graph, id: NodeId) -> Result<(NodeId, ParamId), String> {
    let input = sole_input(graph, id, 0)?;
    let node = graph.node(input);
    let name = &node.origin.name;
    let (weight, bias, epilogue) = match &node.op {
        Op::Conv2d(conv) => (conv.weight, conv.bias, conv.epilogue),
        Op::DepthwiseConv2d(conv) => (conv.weight, conv.bias, conv.epilogue),
        _ => return Err(format!("{name} is not a convolution")),
    };
    if bias.is_some() {
        return Err(format!("{name} already has a bias"));
    }
    if epilogue.activation.is_some() || epilogue.residual {
        return Err(format!("{name} has an epilogue"));
    }
    Ok((input, weight))
}

fn fold(graph: &mut Graph, id: NodeId, norm: &BatchNorm, conv: NodeId, raw: ParamId) {
    let BatchNorm { gamma, beta, mean, variance, epsilon } = *norm;
    let Param { name, shape, .. } = graph.param(raw).clone();
    let base = name.strip_suffix(RAW).unwrap_or(&name);
    let channels = graph.node(conv).tensor.shape.channels;
    let source = ParamSource::FoldedWeight { weight: raw, gamma, variance, epsilon };
    let weight = graph.add_param(Param { name: format!("{base}.weight"), shape, element: ElementType::F32, source });
    let source = ParamSource::FoldedBias { gamma, beta, mean, variance, epsilon };
    let bias = graph.add_param(Param {
        name: format!("{base}.bias"),
        shape: vec![channels],
        element: ElementType::F32,
        source,
    });
    match &mut graph.node_mut(conv).op {
        Op::Conv2d(op) => (op.weight, op.bias) = (weight, Some(bias)),
        Op::DepthwiseConv2d(op) => (op.weight, op.bias) = (weight, Some(bias)),
        _ => {}
    }
    // A bf16 value is rounded after the normalization.
    graph.node_mut(conv).tensor = graph.node(id).tensor;
    graph.replace(id, conv);
}
