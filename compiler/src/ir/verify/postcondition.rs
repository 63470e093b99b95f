//! Postconditions of the passes, independent of their implementation.

use super::site::{self, Site};
use super::{Findings, Invariant};
use crate::ir::{Graph, NodeId, Op};

/// Postconditions in the order of the passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Postcondition {
    /// No batch normalization is left, and every convolution has a bias.
    BatchNormFolded,
    /// No activation is left that its convolution could apply.
    ActivationFused,
    /// No add is left that its convolution could apply.
    ResidualFused,
    /// No depthwise convolution and projection are left that could be streamed.
    InvertedResidualFused,
    /// Pools are in epilogues.
    PoolFused,
    /// Inputs of windows have the border that the window reads; checked with the layouts.
    LayoutsAssigned,
    /// Every convolution and the classifier has a register tile.
    TilesAssigned,
    /// Every value except the network's input and output has a place.
    ScratchPlanned,
}

impl Postcondition {
    /// The pass that establishes it.
    pub const fn pass(self) -> &'static str {
        match self {
            Self::BatchNormFolded => "fold_batch_norm",
            Self::ActivationFused => "fuse_activation",
            Self::ResidualFused => "fuse_residual_add",
            Self::InvertedResidualFused => "fuse_inverted_residual",
            Self::PoolFused => "fuse_pool",
            Self::LayoutsAssigned => "assign_layouts",
            Self::TilesAssigned => "assign_tiles",
            Self::ScratchPlanned => "plan_scratch",
        }
    }

    pub(super) fn check(self, graph: &Graph, found: &mut Findings) {
        let invariant = Invariant::Postcondition(self);
        match self {
            Self::BatchNormFolded => sites(graph, found, invariant, |site| match site.op {
                Op::BatchNorm(_) => Some("was not folded"),
                Op::Conv2d(conv) if conv.bias.is_none() => Some("has no bias"),
                Op::DepthwiseConv2d(conv) if conv.bias.is_none() => Some("has no bias"),
                _ => None,
            }),
            Self::ActivationFused => nodes(graph, found, invariant, |id| {
                let conv = sole_input(graph, id, 0)?;
                let epilogue = graph.node(conv).op.epilogue();
                let free =
                    graph.node(conv).op.window().is_some() && epilogue.activation.is_none() && !epilogue.residual;
                (free && matches!(graph.node(id).op, Op::Activation(_))).then_some("is not fused with its convolution")
            }),
            Self::ResidualFused => nodes(graph, found, invariant, |id| {
                let conv = sole_input(graph, id, 0)?;
                let free = matches!(&graph.node(conv).op, Op::Conv2d(conv) if !conv.epilogue.residual);
                (free && matches!(graph.node(id).op, Op::Add)).then_some("is not fused with its convolution")
            }),
            Self::InvertedResidualFused => nodes(graph, found, invariant, |id| {
                let depthwise = sole_input(graph, id, 0)?;
                let streams = matches!(graph.node(depthwise).op, Op::DepthwiseConv2d(_))
                    && graph.node(depthwise).origin.step == graph.node(id).origin.step;
                let linear = matches!(&graph.node(id).op,
                    Op::Conv2d(conv) if conv.window.is_point() && conv.epilogue.activation.is_none());
                (streams && linear).then_some("is not fused with its depthwise")
            }),
            Self::PoolFused => nodes(graph, found, invariant, |id| {
                let conv = sole_input(graph, id, 0)?;
                let free = matches!(&graph.node(conv).op,
                    Op::Conv2d(conv) if conv.window.is_point() && !conv.epilogue.residual)
                    && graph.node(conv).origin.step == graph.node(id).origin.step;
                (free && matches!(graph.node(id).op, Op::GlobalAvgPool)).then_some("is not fused with its convolution")
            }),
            Self::LayoutsAssigned => {}
            Self::TilesAssigned => sites(graph, found, invariant, |site| {
                let tiled = matches!(site.op, Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::Dense(_));
                (tiled && site.tile.is_none()).then_some("has no tile")
            }),
            Self::ScratchPlanned => {
                nodes(graph, found, invariant, |id| {
                    let node = graph.node(id);
                    let inside = !matches!(node.op, Op::Input) && !graph.readers(id).is_empty();
                    (inside && node.place.is_none()).then_some("has no place")
                });
                nodes(graph, found, invariant, |id| {
                    let node = graph.node(id);
                    (node.gathers() && node.workspace.is_none()).then_some("has no place for the images of a batch")
                });
                sites(graph, found, invariant, |site| {
                    (site.is_inner() && site.place.is_none()).then_some("has no place")
                });
            }
        }
    }
}

/// The input of node `id` at `slot`, if it has no other reader.
fn sole_input(graph: &Graph, id: NodeId, slot: usize) -> Option<NodeId> {
    let input = graph.inputs(id).get(slot).copied()?;
    (graph.readers(input).len() == 1).then_some(input)
}

fn nodes(graph: &Graph, found: &mut Findings, invariant: Invariant, broken: impl Fn(NodeId) -> Option<&'static str>) {
    for id in graph.ids() {
        if let Some(message) = broken(id) {
            found.at(invariant, graph, id, message);
        }
    }
}

fn sites(
    graph: &Graph,
    found: &mut Findings,
    invariant: Invariant,
    broken: impl Fn(&Site<'_>) -> Option<&'static str>,
) {
    for site in site::all(graph) {
        if let Some(message) = broken(&site) {
            found.named(invariant, &site.origin.name, Some(site.origin.line), message);
        }
    }
}
