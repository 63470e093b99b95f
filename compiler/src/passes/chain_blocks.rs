//! Lets a streamed block make the rows of its output as the next block wants them, so that they are never all there.
//!
//! ```text
//! before: stem+block1 : 112x112x16          after: stem+block1 : 112x112x16, ring of 8 rows
//!         block2 : 56x56x24                        block2 : 56x56x24, of the same step
//! ```
//!
//! Precondition: `assign_layouts` ran. A pair is chained where both are streamed by row quads, none else reads what is
//! between them, and neither adds a residual, which would want rows for longer.

use crate::ir::{Fused, Graph, Layout, NodeId, Op, Order, Padding, Stage, Window};
use crate::schedule::phases::phases;
use crate::schedule::quantized::QUAD;

pub fn chain_blocks(graph: &mut Graph) {
    let Some(order) = graph.order() else { return };
    let mut chained = None;
    for maker in order {
        let [reader] = graph.readers(maker)[..] else { continue };
        // One that is waited for does not itself wait.
        if chained == Some(maker) {
            continue;
        }
        if let Some(layout) = ring_between(graph, maker, reader) {
            chain(graph, maker, reader, layout);
            chained = Some(reader);
        }
    }
}

/// The ring through which `maker` can hand its rows to `reader`.
fn ring_between(graph: &Graph, maker: NodeId, reader: NodeId) -> Option<Layout> {
    let ([.., depthwise, project], [expand, ..]) = (streamed(graph, maker)?, streamed(graph, reader)?) else {
        return None;
    };
    let Op::Conv2d(_) = expand.op else { return None };
    let (window, tensor) = (depthwise.op.window()?, project.tensor);
    let (first, most) = rows_at_once(window, depthwise, graph, maker)?;
    // What a turn makes does not go round the end: the first turn's few rows end where the next one's begin.
    let border = Padding { top: most - first, ..Padding::default() };
    let rows = (QUAD + most - 1).next_multiple_of(most);
    Some(Layout { ring: Some(rows), border, ..tensor.layout })
}

/// Rows that the first row quad completes, and the most that another does.
fn rows_at_once(window: Window, depthwise: &Stage, graph: &Graph, maker: NodeId) -> Option<(usize, usize)> {
    let [ring, _, _] = streamed(graph, maker)?.last_chunk::<3>()?;
    let made: Vec<_> = phases(window, ring.tensor.shape.height, depthwise.tensor.shape.height)
        .iter()
        .map(|phase| (phase.count, phase.work.made()))
        .collect();
    let most = made.iter().map(|(_, made)| *made).max()?;
    let (count, first) = *made.first()?;
    // Between the first and the last turn, all make the same.
    let even = made.iter().skip(1).rev().skip(1).all(|(_, made)| *made == most);
    (count == 1 && even).then_some((first, most))
}

/// The stages of a block that makes a few rows at a time and adds nothing.
fn streamed(graph: &Graph, id: NodeId) -> Option<&[Stage]> {
    let node = graph.node(id);
    let Op::Fused(Fused { stages, rows }) = &node.op else { return None };
    let in_quads = stages.iter().any(|stage| matches!(stage.tensor.layout.order, Order::RowQuads { .. }));
    let free = in_quads && !node.op.epilogue().residual && *rows < node.tensor.shape.height;
    free.then_some(stages)
}

/// Gives `maker`'s value the ring, and makes one step of both.
fn chain(graph: &mut Graph, maker: NodeId, reader: NodeId, layout: Layout) {
    let [first, second] = [maker, reader].map(|id| graph.node(id).origin.step);
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
    let node = graph.node_mut(maker);
    node.tensor.layout = layout;
    if let Op::Fused(fused) = &mut node.op
        && let Some(last) = fused.stages.last_mut()
    {
        last.tensor.layout = layout;
    }
}
