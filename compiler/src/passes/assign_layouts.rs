//! Assigns each value the layout that its readers need, for one instruction set.
//!
//! ```text
//! before: every value is NHWC
//! after:  the input of a depthwise (or the stem) includes its zero border, channels padded to whole vectors;
//!         in a fused node it is a ring of channel groups: [group][row % slots][border + column][channel]
//! ```
//!
//! Precondition: the rewriting passes ran. Postcondition: the input of a windowed operation includes the border that
//! the window reads. A value with other readers is copied by an explicit `Repack`.

use super::border::{border, ring_before_window, window_of};
use super::store_quads::store_quads;
use super::stream_quads::stream_quads;
use crate::ir::{Graph, Layout, Node, NodeId, Op, Padding, Shape, Stage, Tensor, Window};
use crate::schedule::balance::is_balanced;
use crate::schedule::blocks;
use crate::schedule::float::{Product, best_tile};
use crate::schedule::taps::Taps;
use crate::target::{Isa, IsaFacts};

/// Bytes that stay in the first-level cache together with the weights of a panel.
const RING_CACHE: usize = 32 << 10;
/// Bytes that stay in the second-level cache together with all other data: half of a typical size of 1 MB.
const TILE_CACHE: usize = 512 << 10;
/// Minimum rows for which each thread of a team computes its own slab of a small image, from the first stage to the
/// last. Only the halo rows, which both neighbors expand, move between the processors' caches. With fewer rows the
/// halo would dominate, so the threads share channel groups and then panels instead.
const SLAB_ROWS: usize = 6;

pub fn assign_layouts(graph: &mut Graph, isa: Isa, threads: usize) {
    let Some(order) = graph.order() else { return };
    for id in order {
        let Some(input) = graph.inputs(id).first().copied() else { continue };
        let op = &graph.node(id).op;
        match (op, window_of(op)) {
            (Op::Fused(_), _) if graph.node(id).tensor.element.is_quantized() => {
                let input = graph.node(input).tensor;
                if let Op::Fused(fused) = &mut graph.node_mut(id).op {
                    stream_quads(fused, input, isa, threads);
                }
            }
            (Op::Fused(_), _) => stream(graph, id, input, isa, threads),
            (Op::Activation(_), _) => {
                let layout = graph.node(input).tensor.layout;
                graph.node_mut(id).tensor.layout = layout;
            }
            (Op::DepthwiseConv2d(_), Some(window)) if graph.node(id).tensor.element.is_quantized() => {
                store_quads(graph, id, input, window, isa);
            }
            (Op::DepthwiseConv2d(_), Some(window)) => {
                border_input(graph, id, input, window, isa);
                let tensor = &mut graph.node_mut(id).tensor;
                tensor.layout = Layout::nhwc(tensor.shape.channels.next_multiple_of(isa.lanes()));
            }
            (_, Some(window)) => border_input(graph, id, input, window, isa),
            _ => {}
        }
    }
}

/// Adds a border to `reader`'s input. The border is in place if `reader` is the only reader and only elementwise
/// operations are between it and the producer. Otherwise a `Repack` adds it. The value between two steps stays dense,
/// because observers see it.
fn border_input(graph: &mut Graph, reader: NodeId, input: NodeId, window: Window, isa: Isa) {
    let node = graph.node(reader);
    let shape = graph.node(input).tensor.shape;
    // The stem reads the pixels of the image. All other operations read whole vectors.
    let group = match node.op {
        Op::DepthwiseConv2d(_) => shape.channels.next_multiple_of(isa.lanes()),
        _ => shape.channels,
    };
    let mut border = border(window, shape, node.tensor.shape);
    if node.tensor.element.is_quantized() {
        // A window's row is read in whole quads, which may extend into the next pixels.
        border.right += Taps::pixels_after(window, shape);
    }
    let layout = Layout { border, ..Layout::nhwc(group) };
    let mut chain = vec![input];
    while let (Op::Activation(_), [before]) =
        (&graph.node(chain[chain.len() - 1]).op, &*graph.inputs(chain[chain.len() - 1]))
    {
        chain.push(*before);
    }
    let producer = chain[chain.len() - 1];
    let sole = chain.iter().all(|id| graph.readers(*id).len() == 1);
    let inner = graph.node(producer).origin.step == graph.node(reader).origin.step;
    // A residual is read at the offset where the sum is written, so both have the same layout.
    if sole && inner && matches!(&graph.node(producer).op, Op::Conv2d(conv) if !conv.epilogue.residual) {
        for id in chain {
            graph.node_mut(id).tensor.layout = layout;
        }
        return;
    }
    let mut origin = graph.node(reader).origin.clone();
    origin.name.push_str(".border");
    origin.layer = None;
    let tensor = Tensor { layout, ..graph.node(input).tensor };
    let repack = graph.add(Node { op: Op::Repack, origin, tensor, tile: None, place: None, workspace: None }, &[input]);
    graph.redirect(reader, input, repack);
}

/// Assigns the ring layouts of a fused node, and the rows of its tiles.
fn stream(graph: &mut Graph, id: NodeId, input: NodeId, isa: Isa, threads: usize) {
    let input = graph.node(input).tensor;
    let Op::Fused(fused) = &mut graph.node_mut(id).op else { return };
    ring_before_window(fused, input);
    let Some(at) = fused.stages.iter().position(|stage| matches!(stage.op, Op::DepthwiseConv2d(_))) else { return };
    let (Some(window), Some(producer)) = (window_of(&fused.stages[at].op), at.checked_sub(1)) else { return };
    let (shape, output) = (fused.stages[producer].tensor.shape, fused.stages[at].tensor.shape);
    let sides = Padding { top: 0, bottom: 0, ..border(window, shape, output) };
    let vectors = shape.channels.div_ceil(isa.lanes());
    let padded = vectors * isa.lanes();
    let [ring_bytes, tile_bytes] = [producer, at].map(|stage| fused.stages[stage].tensor.element.bytes());
    let row_bytes = |group| (sides.left + shape.width + sides.right) * group * ring_bytes;
    let fits = |group: usize| {
        row_bytes(group) * shape.height <= RING_CACHE && output.pixels() * padded * tile_bytes <= TILE_CACHE
    };
    let group_of = |call: Call, allowed: &dyn Fn(usize) -> bool| {
        group_vectors(&fused.stages[..at], input.shape.channels, call, vectors, isa, allowed) * isa.lanes()
    };
    let row = Call { rows: 1, cols: shape.width, flat: true };
    let image = Call { rows: shape.height, cols: shape.width, flat: sides.left + sides.right == 0 };
    let slab = output.height.div_ceil(threads);
    let (streamed, rows) = (group_of(row, &|_| true), tile_rows(window, output, isa));
    let reach = ((rows - 1) * window.stride[0] + window.kernel[0]).min(shape.height);
    // The depthwise reads the rows of one group at a time.
    let near = |nv: usize| nv == 1 || row_bytes(nv * isa.lanes()) * reach <= RING_CACHE;
    let (group, rows) = match fits(streamed) {
        false => (group_of(row, &near), rows),
        true if threads > 1 && slab >= SLAB_ROWS => (streamed, slab),
        // The threads of a team share the channel groups.
        true => {
            let allowed = |nv| fits(nv * isa.lanes()) && (threads == 1 || is_balanced(vectors / nv, threads));
            (group_of(image, &allowed), output.height)
        }
    };
    let slots = ((rows - 1) * window.stride[0] + window.kernel[0]).min(shape.height);
    // A ring that would hold every row is filled once.
    let rows = if slots == shape.height { output.height } else { rows };
    fused.rows = rows;
    fused.stages[producer].tensor.layout = Layout { border: sides, ring: Some(slots), ..Layout::nhwc(group) };
    fused.stages[at].tensor.layout = Layout { ring: Some(rows), ..Layout::nhwc(padded) };
}

/// Rows that one call of the producer computes: one row, or the whole image if the ring holds all of it.
#[derive(Clone, Copy)]
struct Call {
    rows: usize,
    cols: usize,
    flat: bool,
}

/// Returns the vectors of channels in a group of the ring: a panel of the producer's cheapest register tile.
fn group_vectors(
    producers: &[Stage],
    channels: usize,
    call: Call,
    vectors: usize,
    isa: Isa,
    allowed: &dyn Fn(usize) -> bool,
) -> usize {
    let divides = |nv: usize| vectors.is_multiple_of(nv) && allowed(nv);
    match producers {
        [Stage { op: Op::Conv2d(conv), .. }] => {
            let Call { rows, cols, flat } = call;
            let k = conv.factors.rows(channels);
            let row = if flat { rows * cols } else { cols };
            let block_pixels = conv.product.depth().map(|_| blocks::pixels(row, row));
            let product = Product { rows, cols, flat, vectors, k, block_pixels };
            best_tile(isa, product, divides).1
        }
        // Image rows pass through their ring once, so all channels of the stem are one group.
        [_, _, ..] => vectors,
        _ => (1..=4).rev().find(|nv| divides(*nv)).unwrap_or(1),
    }
}

/// Returns the output rows of a tile: two if the depthwise benefits from sharing input rows, more if rows are shorter
/// than the projection's register tile.
fn tile_rows(window: Window, output: Shape, isa: Isa) -> usize {
    let shared = if window.stride[0] == 1 { 2 } else { 1 };
    let short = (isa.registers() / 2 - 2).div_ceil(output.width);
    shared.max(short).min(output.height)
}
