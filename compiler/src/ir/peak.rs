//! The operation with the highest use of scratch.

use std::collections::BTreeMap;
use std::fmt;

use super::{Graph, NodeId, Op, Place};

/// The operation with the most live bytes of scratch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peak {
    /// Name of the operation, such as `block2`.
    pub name: String,
    /// Line of the spec, from 1.
    pub line: usize,
    /// Bytes of its inputs and of other live values.
    pub read: usize,
    /// Bytes of its result, unless the caller owns it.
    pub written: usize,
    /// Bytes of its intermediate buffers: rings of rows, sums.
    pub between: usize,
}

impl Peak {
    /// The peak of a graph after `plan_scratch`.
    pub fn of(graph: &Graph) -> Option<Self> {
        let order = graph.order()?;
        let position: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let ends = |id: NodeId| position.get(&graph.ends_with(id)).copied().unwrap_or(0);
        let turn = |(at, id): (usize, &NodeId)| {
            let node = graph.node(*id);
            // Values can share a place if an operation works in place.
            let mut read: BTreeMap<usize, usize> = BTreeMap::new();
            let mut between = 0;
            for (before, other) in order.iter().enumerate().take(at + 1) {
                let last = graph.readers(*other).into_iter().map(ends).max();
                if let Some(place) = graph.node(*other).place.filter(|_| before < at && last >= Some(at)) {
                    read.insert(place.offset, place.bytes);
                }
                if before == at || ends(*other) == at {
                    between += inner(graph, *other);
                }
            }
            let written = node.place.map_or(0, |place| place.bytes);
            let read = read.values().sum();
            Self { name: node.origin.name.clone(), line: node.origin.line, read, written, between }
        };
        order.iter().enumerate().map(turn).max_by_key(|peak| peak.read + peak.written + peak.between)
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, line, read, written, between } = self;
        write!(
            f,
            "{name} (line {line}) has the peak: {read} bytes of inputs, {written} of output, {between} of intermediate values"
        )
    }
}

/// Bytes of intermediate buffers, of all threads of a team.
fn inner(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    let stages = if let Op::Fused(fused) = &node.op { &*fused.stages } else { &[] };
    // The value of the last stage is the node's.
    let handed = stages.iter().take(stages.len().saturating_sub(1)).map(|stage| stage.place);
    let workspaces = stages.iter().map(|stage| stage.workspace).chain([node.workspace]);
    let bytes = |place: Place| place.bytes * place.arenas.map_or(1, |arenas| arenas.count);
    handed.chain(workspaces).flatten().map(bytes).sum()
}
