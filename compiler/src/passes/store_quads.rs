//! Assigns layouts and the register tiles that depend on them to the operations of an unfused quantized block.
//!
//! ```text
//! expand      -> [group][row / 4][vector][column][lane][row % 4]   the whole value, with a border of padding
//! depthwise   -> [channel / 4][row][column][channel % 4], or pixel quads
//! projection  -> NHWC
//! ```
//!
//! The kernels are those of streamed blocks. A value that no convolution of the same step produces is copied to row
//! quads.

use super::border::border;
use super::stream_quads::{depthwise, filtered, gemm};
use crate::ir::{Graph, Layout, Node, NodeId, Op, Order, Shape, Tensor, Tile, Window};
use crate::schedule::phases::phases;
use crate::schedule::quantized::{QUAD, quad_tile};
use crate::schedule::taps::Taps;
use crate::target::{Isa, IsaFacts};

/// Assigns the layouts of the input and the output of the depthwise convolution `id`.
pub fn store_quads(graph: &mut Graph, id: NodeId, input: NodeId, window: Window, isa: Isa) {
    let output = graph.node(id).tensor.shape;
    let producer = graph.node(input);
    let shape = producer.tensor.shape;
    let inner = producer.origin.step == graph.node(id).origin.step && graph.readers(input).len() == 1;
    let expands = matches!(&producer.op, Op::Conv2d(conv) if conv.window.is_point() && !conv.epilogue.residual);
    let source = graph.inputs(input).first().filter(|_| inner && expands).map(|source| graph.node(*source).tensor);
    let taps = match source {
        Some(source) => Taps::of_producer(&producer.op, source, shape.width),
        None => Taps::of_producer(&Op::Repack, producer.tensor, shape.width),
    };
    let (layout, tile) = row_quads(taps, shape, window, output, isa);
    if source.is_some() {
        let node = graph.node_mut(input);
        (node.tensor.layout, node.tile) = (layout, Some(tile));
    } else {
        let mut origin = graph.node(id).origin.clone();
        origin.name.push_str(".rows");
        origin.layer = None;
        let tensor = Tensor { layout, ..producer.tensor };
        let copy = Node { op: Op::Repack, origin, tensor, tile: Some(tile), place: None, workspace: None };
        let copy = graph.add(copy, &[input]);
        graph.redirect(id, input, copy);
    }
    let node = graph.node_mut(id);
    (node.tensor.layout, node.tile) = (filtered(window, output, isa), Some(depthwise(window)));
}

/// Returns the layout and the tile of a dense sum over `taps` whose result a depthwise convolution reads.
fn row_quads(taps: Taps, shape: Shape, window: Window, output: Shape, isa: Isa) -> (Layout, Tile) {
    let lanes = isa.lanes();
    let vectors = shape.channels.div_ceil(lanes);
    let (mr, nv) = quad_tile((isa, isa.dot_form()), shape.width, vectors, taps.steps(), |_| true);
    let mut sides = border(window, shape, output);
    // Whole row quads that cover the windows and all rows of the image.
    let quads: usize = phases(window, shape.height, output.height).iter().map(|phase| phase.count).sum();
    let rows = (quads * QUAD).max((sides.top + shape.height).next_multiple_of(QUAD));
    sides.bottom = rows - sides.top - shape.height;
    let order = Order::RowQuads { lanes, groups: vectors / nv };
    (Layout { border: sides, order, ..Layout::nhwc(nv * lanes) }, gemm(mr, nv))
}
