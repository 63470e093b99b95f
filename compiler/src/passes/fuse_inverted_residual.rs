//! Fuses expand, depthwise and projection into one streamed node.
//!
//! ```text
//! before: %5 = conv2d 1x1/1 %4 relu6        after: %5 = fused %4 add %4
//!         %6 = depthwise 3x3/1 %5 relu6                 conv2d 1x1/1 relu6
//!         %7 = conv2d 1x1/1 %6 add %4                   depthwise 3x3/1 relu6
//!                                                       conv2d 1x1/1 add
//! ```
//!
//! If no convolution of the same step produces the depthwise input (t = 1 after the first block), the stages begin
//! with a repack, which copies image rows into the ring.
//!
//! Precondition: epilogues are fused. Postcondition: no depthwise convolution and linear projection remain that could
//! be streamed. Every stage keeps its origin. The result is bit-identical: nothing is computed twice or in another
//! order.

use super::{Remark, remark, sole_input};
use crate::ir::verify::Postcondition;
use crate::ir::{Fused, Graph, Node, NodeId, Op, Origin, Stage};

const PASS: Postcondition = Postcondition::InvertedResidualFused;

/// Fuses each depthwise convolution with its projection. Returns a remark for each depthwise convolution that was not
/// fused or that reads a copy of its input.
pub fn fuse_inverted_residual(graph: &mut Graph) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let order = graph.order().unwrap_or_default();
    // Collected first, since fusing removes the nodes around each depthwise convolution.
    let depthwise: Vec<NodeId> =
        order.into_iter().filter(|id| matches!(graph.node(*id).op, Op::DepthwiseConv2d(_))).collect();
    for depthwise in depthwise {
        let project = match projection(graph, depthwise) {
            Ok(project) => project,
            Err(why) => {
                remarks.push(remark(graph, PASS, depthwise, format!("not streamed: {why}")));
                continue;
            }
        };
        let producer = match producer(graph, depthwise) {
            Ok(producer) => Some(producer),
            Err(why) => {
                let message = format!("streamed from a copy of its input: {why}");
                remarks.push(remark(graph, PASS, depthwise, message));
                None
            }
        };
        fuse(graph, producer, depthwise, project);
    }
    remarks
}

/// Returns the linear pointwise convolution that is the only reader of `depthwise`.
fn projection(graph: &Graph, depthwise: NodeId) -> Result<NodeId, String> {
    let readers = graph.readers(depthwise);
    let [project] = *readers else {
        let names: Vec<&str> = readers.iter().map(|reader| &*graph.node(*reader).origin.name).collect();
        return Err(match &*names {
            [] => "it has no reader".to_owned(),
            names => format!("it is read by {}", names.join(" and ")),
        });
    };
    let node = graph.node(project);
    let name = &node.origin.name;
    match &node.op {
        Op::Conv2d(conv) if !conv.window.is_point() => Err(format!("{name} is not pointwise")),
        Op::Conv2d(conv) if conv.epilogue.activation.is_some() => Err(format!("{name} is not linear")),
        Op::Conv2d(_) if sole_input(graph, project, 0) != Ok(depthwise) => Err(format!("{name} adds it as a residual")),
        Op::Conv2d(_) if node.origin.step != graph.node(depthwise).origin.step => {
            Err(format!("{name} is in another step"))
        }
        Op::Conv2d(_) => Ok(project),
        _ => Err(format!("{name} is not a convolution")),
    }
}

/// Returns the convolution whose rows the depthwise convolution can filter as they are produced.
fn producer(graph: &Graph, depthwise: NodeId) -> Result<NodeId, String> {
    let input = sole_input(graph, depthwise, 0)?;
    let node = graph.node(input);
    let name = &node.origin.name;
    match &node.op {
        _ if node.origin.step != graph.node(depthwise).origin.step => Err(format!("{name} is in another step")),
        Op::Conv2d(conv) if conv.epilogue.residual => Err(format!("{name} adds a residual")),
        Op::Conv2d(conv) if conv.epilogue.activation.is_none() => Err(format!("{name} has no activation")),
        Op::Conv2d(_) => Ok(input),
        _ => Err(format!("{name} is not a dense convolution")),
    }
}

fn fuse(graph: &mut Graph, producer: Option<NodeId>, depthwise: NodeId, project: NodeId) {
    let Some(read) = graph.inputs(depthwise).first().copied() else { return };
    let (first, source) = match producer.and_then(|producer| Some((producer, *graph.inputs(producer).first()?))) {
        Some((producer, source)) => (Stage::of(graph.node(producer)), source),
        None => (copy(graph.node(depthwise), graph.node(read)), read),
    };
    let stages = vec![first, Stage::of(graph.node(depthwise)), Stage::of(graph.node(project))];
    let Node { origin, tensor, .. } = graph.node(project);
    let origin = Origin { name: name(&stages), layer: None, ..origin.clone() };
    let op = Op::Fused(Fused { stages, rows: 0 });
    let fused = Node { op, origin, tensor: *tensor, tile: None, place: None, workspace: None };
    let inputs: Vec<NodeId> = std::iter::once(source).chain(graph.inputs(project).into_iter().skip(1)).collect();
    let fused = graph.add(fused, &inputs);
    graph.replace(project, fused);
    graph.remove(depthwise);
    if let Some(producer) = producer {
        graph.remove(producer);
    }
}

/// Returns the stage that copies `read` into the ring of `depthwise`.
fn copy(depthwise: &Node, read: &Node) -> Stage {
    let origin = &depthwise.origin;
    let origin = Origin { name: format!("{}.rows", origin.name), layer: None, ..origin.clone() };
    Stage { op: Op::Repack, origin, tensor: read.tensor, tile: None, place: None, workspace: None }
}

/// Returns `block2`, or `stem+block1` if the stages belong to two parts of the network.
fn name(stages: &[Stage]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for stage in stages {
        let part = stage.origin.name.split('.').next().unwrap_or_default();
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join("+")
}
