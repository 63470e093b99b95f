//! Operations of a graph: nodes, and the stages inside fused nodes.

use crate::ir::{Fused, Graph, NodeId, Op, Origin, Place, Tensor, Tile};

/// An operation with its inputs and its result.
pub struct Site<'g> {
    pub origin: &'g Origin,
    pub op: &'g Op,
    /// Inputs, by slot.
    pub inputs: Vec<Tensor>,
    pub output: Tensor,
    pub tile: Option<Tile>,
    pub place: Option<Place>,
    /// The enclosing fused node and the index of the stage.
    pub stage: Option<(&'g Fused, usize)>,
}

impl Site<'_> {
    /// Whether only the next stage reads the value.
    pub fn is_inner(&self) -> bool {
        self.stage.is_some_and(|(fused, at)| at + 1 < fused.stages.len())
    }
}

/// The operations of node `id`: itself, or its stages.
pub fn sites(graph: &Graph, id: NodeId) -> Vec<Site<'_>> {
    let node = graph.node(id);
    let inputs: Vec<Tensor> = graph.inputs(id).into_iter().map(|input| graph.node(input).tensor).collect();
    let Op::Fused(fused) = &node.op else {
        let (origin, op) = (&node.origin, &node.op);
        return vec![Site { origin, op, inputs, output: node.tensor, tile: node.tile, place: node.place, stage: None }];
    };
    let (first, added) = inputs.split_first().map_or((None, &[][..]), |(first, added)| (Some(*first), added));
    let read = first.into_iter().chain(fused.stages.iter().map(|stage| stage.tensor));
    let sites = fused.stages.iter().zip(read).enumerate().map(|(at, (stage, read))| {
        let mut inputs = vec![read];
        if at + 1 == fused.stages.len() {
            inputs.extend(added);
        }
        Site {
            origin: &stage.origin,
            op: &stage.op,
            inputs,
            output: stage.tensor,
            tile: stage.tile,
            place: stage.place,
            stage: Some((fused, at)),
        }
    });
    sites.collect()
}

/// The operations of the whole graph.
pub fn all(graph: &Graph) -> Vec<Site<'_>> {
    graph.ids().flat_map(|id| sites(graph, id)).collect()
}
