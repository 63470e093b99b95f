//! Chains two streamed blocks: the first produces its output rows on demand into a ring buffer that the second reads.
//! The whole value is never in memory.
//!
//! ```text
//! before: stem+block1 : 112x112x16          after: stem+block1 : 112x112x16, ring of 8 rows
//!         block2 : 56x56x24                        block2 : 56x56x24, in the same step
//! ```
//!
//! Precondition: `assign_layouts` ran. Two blocks are chained if both are streamed by row quads, the value between
//! them has no other reader, and neither adds a residual. A residual would need its rows for longer.

use crate::ir::{Fused, Graph, Layout, NodeId, Op, Order, Padding, Stage, Window};
use crate::schedule::phases::phases;
use crate::schedule::quantized::QUAD;

pub fn chain_blocks(graph: &mut Graph) {
    let Some(order) = graph.order() else { return };
    let mut chained = None;
    for producer in order {
        let [reader] = graph.readers(producer)[..] else { continue };
        // The reader of a chain cannot be the producer of another one.
        if chained == Some(producer) {
            continue;
        }
        if let Some(layout) = ring_between(graph, producer, reader) {
            chain(graph, producer, reader, layout);
            chained = Some(reader);
        }
    }
}

/// Returns the layout of the ring through which `producer` can pass its rows to `reader`.
fn ring_between(graph: &Graph, producer: NodeId, reader: NodeId) -> Option<Layout> {
    let ([.., depthwise, project], [expand, ..]) = (streamed(graph, producer)?, streamed(graph, reader)?) else {
        return None;
    };
    let Op::Conv2d(_) = expand.op else { return None };
    let (window, tensor) = (depthwise.op.window()?, project.tensor);
    let (first, most) = rows_at_once(window, depthwise, graph, producer)?;
    // The rows of one iteration do not wrap around. The border offsets the first iteration, which produces fewer rows,
    // so that the next one starts at a slot boundary.
    let border = Padding { top: most - first, ..Padding::default() };
    let rows = (QUAD + most - 1).next_multiple_of(most);
    Some(Layout { ring: Some(rows), border, ..tensor.layout })
}

/// Returns the rows that the first row quad completes, and the maximum for any other.
fn rows_at_once(window: Window, depthwise: &Stage, graph: &Graph, producer: NodeId) -> Option<(usize, usize)> {
    let [ring, _, _] = streamed(graph, producer)?.last_chunk::<3>()?;
    let completed: Vec<_> = phases(window, ring.tensor.shape.height, depthwise.tensor.shape.height)
        .iter()
        .map(|phase| (phase.count, phase.work.completed()))
        .collect();
    let most = completed.iter().map(|(_, completed)| *completed).max()?;
    let (count, first) = *completed.first()?;
    // All iterations between the first and the last produce the same number of rows.
    let even = completed.iter().skip(1).rev().skip(1).all(|(_, completed)| *completed == most);
    (count == 1 && even).then_some((first, most))
}

/// Returns the stages of a block that produces a few rows at a time and adds no residual.
fn streamed(graph: &Graph, id: NodeId) -> Option<&[Stage]> {
    let node = graph.node(id);
    let Op::Fused(Fused { stages, rows }) = &node.op else { return None };
    let in_quads = stages.iter().any(|stage| matches!(stage.tensor.layout.order, Order::RowQuads { .. }));
    let free = in_quads && !node.op.epilogue().residual && *rows < node.tensor.shape.height;
    free.then_some(stages)
}

/// Assigns the ring layout to `producer`'s value, and merges both blocks into one step.
fn chain(graph: &mut Graph, producer: NodeId, reader: NodeId, layout: Layout) {
    let [first, second] = [producer, reader].map(|id| graph.node(id).origin.step);
    let ids: Vec<NodeId> = graph.ids().collect();
    for id in ids {
        let node = graph.node_mut(id);
        let step = node.origin.step;
        let moved = if step >= second { step - (second - first) } else { step };
        node.origin.step = moved;
        if let Op::Fused(fused) = &mut node.op {
            fused.stages.iter_mut().for_each(|stage| stage.origin.step = moved);
        }
    }
    let node = graph.node_mut(producer);
    node.tensor.layout = layout;
    if let Op::Fused(fused) = &mut node.op
        && let Some(last) = fused.stages.last_mut()
    {
        last.tensor.layout = layout;
    }
}
