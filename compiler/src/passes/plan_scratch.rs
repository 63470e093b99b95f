//! Assigns every value a place in one scratch buffer at compile time.
//!
//! ```text
//! before: %4 = conv2d ... : 56x56x24        after: %4 = conv2d ... : 56x56x24 @ 802816..1103872
//! ```
//!
//! Precondition: layouts are assigned. Postcondition: every value except the network's input and output has a 64-byte
//! aligned place, and no two values with overlapping live ranges share bytes. An elementwise operation that is the
//! last reader of its first input works in place. Values that are private to a thread are in per-thread arenas after
//! the shared values.

use std::ops::Range;

use crate::ir::{Arenas, Graph, Node, NodeId, Op, Place, Tensor};

/// Alignment of every place: a cache line.
const ALIGN: usize = 64;

/// A value to place: its size, and its live range in execution positions.
struct Value {
    owner: Owner,
    bytes: usize,
    /// Whether each thread of a team has a private copy.
    private: bool,
    live: Range<usize>,
}

#[derive(Clone, Copy)]
enum Owner {
    Node(NodeId),
    Stage(NodeId, usize),
    Workspace(NodeId),
    StageWorkspace(NodeId, usize),
}

/// Assigns the places, and returns the bytes of the scratch.
pub fn plan_scratch(graph: &mut Graph, threads: usize) -> usize {
    let Some(order) = graph.order() else { return 0 };
    let position = |id: NodeId| order.iter().position(|other| *other == id).unwrap_or(usize::MAX);
    let turn_ends = |id: NodeId| position(graph.ends_with(id));
    let turn_begins = |id: NodeId| position(graph.begins_with(id));
    let mut values: Vec<Value> = Vec::new();
    let mut in_place: Vec<(NodeId, NodeId)> = Vec::new();
    for (at, id) in order.iter().copied().enumerate() {
        let node = graph.node(id);
        let input = graph.inputs(id).first().map(|input| graph.node(*input).tensor);
        values.extend(inner_values(node, id, input).map(|(owner, bytes)| {
            let private = threads > 1 && !is_shared(node, owner);
            let live = match owner {
                _ if node.gathers() => 0..turn_ends(id) + 1,
                _ if is_brief(node, owner) => at..at + 1,
                _ => turn_begins(id)..turn_ends(id) + 1,
            };
            Value { owner, bytes, private, live }
        }));
        let last = graph.readers(id).into_iter().map(turn_ends).max();
        let (Some(last), false) = (last, matches!(node.op, Op::Input)) else { continue };
        match reusable_input(graph, id) {
            Some(input) => {
                let root = in_place.iter().find(|(later, _)| *later == input).map_or(input, |(_, root)| *root);
                in_place.push((id, root));
                if let Some(value) = values.iter_mut().find(|v| matches!(v.owner, Owner::Node(n) if n == root)) {
                    value.live.end = value.live.end.max(last + 1);
                }
            }
            None => {
                let bytes = whole_lines(node.tensor.bytes());
                let live = turn_begins(id)..last + 1;
                values.push(Value { owner: Owner::Node(id), bytes, private: false, live });
            }
        }
    }
    // The largest values first. Smaller ones fill the gaps.
    values.sort_by_key(|value| (std::cmp::Reverse(value.bytes), value.live.start));
    let (private, shared): (Vec<Value>, Vec<Value>) = values.into_iter().partition(|value| value.private);
    let shared = arrange(&shared);
    let private = arrange(&private);
    let arenas = Arenas { offset: end(&shared), bytes: end(&private), count: threads };
    let private = private
        .into_iter()
        .map(|(owner, place)| (owner, Place { offset: arenas.offset + place.offset, arenas: Some(arenas), ..place }));
    let bytes = arenas.offset + arenas.bytes * arenas.count;
    for (owner, place) in shared.into_iter().chain(private) {
        match owner {
            Owner::Node(id) => graph.node_mut(id).place = Some(place),
            Owner::Workspace(id) => graph.node_mut(id).workspace = Some(place),
            Owner::Stage(id, at) | Owner::StageWorkspace(id, at) => {
                let Op::Fused(fused) = &mut graph.node_mut(id).op else { continue };
                let stage = &mut fused.stages[at];
                match owner {
                    Owner::StageWorkspace(..) => stage.workspace = Some(place),
                    _ => stage.place = Some(place),
                }
            }
        }
    }
    for (id, root) in in_place {
        graph.node_mut(id).place = graph.node(root).place;
    }
    bytes
}

/// Returns a place for every value, from offset 0.
fn arrange(values: &[Value]) -> Vec<(Owner, Place)> {
    let mut placed: Vec<(Place, Range<usize>)> = Vec::new();
    values
        .iter()
        .map(|value| {
            let place = first_fit(value, &placed);
            placed.push((place, value.live.clone()));
            (value.owner, place)
        })
        .collect()
}

/// Returns the end of the last placed value.
fn end(placed: &[(Owner, Place)]) -> usize {
    placed.iter().map(|(_, place)| place.offset + place.bytes).max().unwrap_or(0)
}

/// Rounds up to whole cache lines, since whole vectors may be read and written past the last element.
fn whole_lines(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Returns the values that live only during the node: workspaces, and values between its stages.
fn inner_values(node: &Node, id: NodeId, input: Option<Tensor>) -> impl Iterator<Item = (Owner, usize)> {
    let stages = match &node.op {
        Op::Fused(fused) => &*fused.stages,
        _ => &[],
    };
    let handed = stages.iter().enumerate().take(stages.len().saturating_sub(1));
    let handed = handed.map(move |(at, stage)| (Owner::Stage(id, at), whole_lines(stage.tensor.bytes())));
    let workspace = std::iter::once((Owner::Workspace(id), whole_lines(node.workspace_bytes(input))));
    let stage_workspaces = stages.iter().enumerate().map(move |(at, stage)| {
        let bytes = if let Op::Fused(fused) = &node.op { fused.workspace_bytes(stage, input) } else { 0 };
        (Owner::StageWorkspace(id, at), whole_lines(bytes))
    });
    handed
        .chain(workspace)
        .chain(stage_workspaces)
        .filter(|(owner, bytes)| *bytes > 0 || matches!(owner, Owner::Stage(..)))
}

/// Whether the value lives only while the node itself computes rows, even if its rows are produced or read by another
/// node in turn.
fn is_brief(node: &Node, owner: Owner) -> bool {
    match (&node.op, owner) {
        (Op::Fused(fused), Owner::Stage(_, at)) => fused.holds_briefly(&fused.stages[at]),
        (_, Owner::StageWorkspace(..)) => true,
        _ => false,
    }
}

/// Whether the threads of a team write the value together. The threads share the channels of a block that is a single
/// tile until the projection, which reads all of them.
fn is_shared(node: &Node, owner: Owner) -> bool {
    match (&node.op, owner) {
        // The sums of all channels, which are averaged together.
        (_, Owner::Workspace(_)) if node.tensor.element.is_quantized() => true,
        (_, Owner::Workspace(_)) => node.gathers(),
        (Op::Fused(fused), Owner::Stage(_, at)) => {
            matches!(fused.stages[at].op, Op::DepthwiseConv2d(_)) && fused.is_whole()
        }
        _ => false,
    }
}

/// Returns the first input of an elementwise operation if it has no later reader.
fn reusable_input(graph: &Graph, id: NodeId) -> Option<NodeId> {
    if !matches!(graph.node(id).op, Op::Activation(_) | Op::Add) {
        return None;
    }
    let input = *graph.inputs(id).first()?;
    let [read, written] = [input, id].map(|id| graph.node(id).tensor);
    let same = (read.layout, read.element) == (written.layout, written.element);
    (same && graph.readers(input).len() == 1 && !matches!(graph.node(input).op, Op::Input)).then_some(input)
}

/// Returns the lowest offset at which `value` overlaps no value with an overlapping live range.
fn first_fit(value: &Value, placed: &[(Place, Range<usize>)]) -> Place {
    let mut taken: Vec<Place> = placed
        .iter()
        .filter(|(_, live)| live.start < value.live.end && value.live.start < live.end)
        .map(|(place, _)| *place)
        .collect();
    taken.sort_by_key(|place| place.offset);
    let mut offset = 0;
    for place in taken {
        if offset + value.bytes <= place.offset {
            break;
        }
        offset = offset.max(place.offset + place.bytes);
    }
    Place { offset, bytes: value.bytes, arenas: None }
}
