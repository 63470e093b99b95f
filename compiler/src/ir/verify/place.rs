//! Places in the scratch: no two live values share a byte.

use std::collections::BTreeMap;

use super::{Findings, Invariant};
use crate::ir::{Graph, NodeId, Op, Place, Tensor};

/// Alignment of places in bytes, a cache line.
pub const ALIGN: usize = 64;

/// A value with a place, and its live range in order of execution.
struct Value<'g> {
    id: NodeId,
    name: &'g str,
    bytes: usize,
    place: Place,
    live: [usize; 2],
    /// Inside a fused node.
    inner: bool,
}

/// Checks the assigned places. The postcondition checks that they are assigned.
pub fn check(graph: &Graph, order: &[NodeId], found: &mut Findings) {
    let values = values(graph, order);
    for value in &values {
        let Place { offset, bytes, arenas } = value.place;
        if offset % ALIGN != 0 {
            found.named(
                Invariant::Place,
                value.name,
                line(graph, value),
                format!("is at {offset}, not aligned to a cache line"),
            );
        }
        if bytes < value.bytes {
            let message = format!("has {bytes} bytes for {}", value.bytes);
            found.named(Invariant::Place, value.name, line(graph, value), message);
        }
        if arenas.is_some_and(|arena| offset < arena.offset || offset + bytes > arena.offset + arena.bytes) {
            let message = format!("is at {offset}..{}, outside the arena of its thread", offset + bytes);
            found.named(Invariant::Place, value.name, line(graph, value), message);
        }
    }
    for (at, a) in values.iter().enumerate() {
        for b in &values[at + 1..] {
            if together(a, b) && overlap(a.place, b.place) && !in_place(graph, a, b) {
                let message = format!("overlaps {}, which is live at the same time", a.name);
                found.named(Invariant::Place, b.name, line(graph, b), message);
            }
        }
    }
    for id in order {
        let end = matches!(graph.node(*id).op, Op::Input) || graph.readers(*id).is_empty();
        if end && graph.node(*id).place.is_some() {
            found.at(Invariant::Place, graph, *id, "has a place, but its memory belongs to the caller");
        }
    }
}

fn line(graph: &Graph, value: &Value<'_>) -> Option<usize> {
    Some(graph.node(value.id).origin.line)
}

/// The values with places, in order of execution.
fn values<'g>(graph: &'g Graph, order: &[NodeId]) -> Vec<Value<'g>> {
    let positions: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut values = Vec::new();
    for (at, id) in order.iter().copied().enumerate() {
        let node = graph.node(id);
        let turn_ends = |id| positions.get(&graph.ends_with(id)).copied().unwrap_or(at);
        let input = graph.inputs(id).first().map(|input| graph.node(*input).tensor);
        if let Some(place) = node.workspace {
            let first = if node.gathers() { 0 } else { at };
            let (name, bytes) = (&*node.origin.name, node.workspace_bytes(input));
            values.push(Value { id, name, bytes, place, live: [first, turn_ends(id)], inner: true });
        }
        let turn_begins = positions.get(&graph.begins_with(id)).copied().unwrap_or(at);
        let mut inner = |name, bytes, place: Option<Place>, brief: bool| {
            let live = if brief { [at, at] } else { [turn_begins, turn_ends(id)] };
            values.extend(place.map(|place| Value { id, name, bytes, place, live, inner: true }));
        };
        if let Op::Fused(fused) = &node.op {
            for (index, stage) in fused.stages.iter().enumerate() {
                inner(&*stage.origin.name, fused.workspace_bytes(stage, input), stage.workspace, true);
                // The value of the last stage is the node's.
                if index + 1 < fused.stages.len() {
                    inner(&*stage.origin.name, bytes(stage.tensor), stage.place, fused.holds_briefly(stage));
                }
            }
        }
        if let Some(place) = node.place {
            let live = [turn_begins, graph.readers(id).into_iter().map(turn_ends).max().unwrap_or(at)];
            let (name, bytes) = (&*node.origin.name, bytes(node.tensor));
            values.push(Value { id, name, bytes, place, live, inner: false });
        }
    }
    values
}

/// Bytes of a value; an empty layout is reported by its own rule.
fn bytes(tensor: Tensor) -> usize {
    if tensor.layout.group == 0 { 0 } else { tensor.bytes() }
}

fn together(a: &Value<'_>, b: &Value<'_>) -> bool {
    a.live[0] <= b.live[1] && b.live[0] <= a.live[1]
}

fn overlap(a: Place, b: Place) -> bool {
    a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes
}

/// Whether `later` works in place on `earlier`: it is the last reader and elementwise.
fn in_place(graph: &Graph, earlier: &Value<'_>, later: &Value<'_>) -> bool {
    // The last user of a value reads it. The rules of layouts check that both layouts agree.
    let last = earlier.live[1] == later.live[0] && !earlier.inner && !later.inner;
    last && graph.node(later.id).op.is_elementwise() && earlier.place == later.place
}
