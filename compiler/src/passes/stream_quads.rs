//! Lays out a quantised block that is streamed, and sets its register tiles.
//!
//! ```text
//! expand      -> [group][row / 4][vector][column][lane][row % 4]   a ring of two row quads
//! depthwise   -> [channel / 4][row][column][channel % 4]           the rows that a new row quad completes; where these
//!                                                                  are of whole quads, pixels come in quads too
//! projection  -> NHWC
//! ```
//!
//! Layouts belong to edges: what makes a value packs it as the dot products of its reader take it.

use super::assign_layouts::{border, ring_before_window};
use crate::codegen::isa::Isa;
use crate::codegen::quantised::cost::{self, QUAD};
use crate::codegen::quantised::split;
use crate::ir::{DepthwiseTile, Fused, GemmTile, Layout, Op, Order, Padding, Product, Tensor, Tile};

/// What the depthwise leaves of a whole image that the projection's weights can wait for, beside everything else in the
/// second-level cache: then they are read once.
const IMAGE_CACHE: usize = 64 << 10;
/// Columns of a depthwise tile: four pixels of four channels are what one store takes.
const COLUMNS: usize = 4;

pub fn stream_quads(fused: &mut Fused, input: Tensor, isa: Isa) {
    ring_before_window(fused, input);
    let Some(at) = fused.stages.iter().position(|stage| matches!(stage.op, Op::DepthwiseConv2d(_))) else { return };
    let (Some(window), Some(producer)) = (fused.stages[at].op.window(), at.checked_sub(1)) else { return };
    let (shape, output) = (fused.stages[producer].tensor.shape, fused.stages[at].tensor.shape);
    let lanes = isa.lanes();
    let vectors = shape.channels.div_ceil(lanes);
    let before = producer.checked_sub(1).map_or(input, |before| fused.stages[before].tensor);
    let k = quads(&fused.stages[producer].op, before);
    let (mr, nv) = cost::quad_tile(isa, shape.width, vectors, k);
    let whole = output.pixels() * vectors * lanes <= IMAGE_CACHE;
    // A new row quad completes as many rows of windows as it has rows.
    let rows = if whole { output.height } else { QUAD.div_ceil(window.stride[0]) };
    let groups = if whole { 1 } else { vectors / nv };
    let sides = Padding { bottom: 0, ..border(window, shape, output) };
    fused.rows = rows;
    let stages = &mut fused.stages;
    stages[producer].tensor.layout = Layout {
        border: sides,
        ring: Some(2 * QUAD),
        order: Order::RowQuads { lanes, groups },
        ..Layout::nhwc(nv * lanes)
    };
    stages[producer].tile = Some(gemm(mr, nv));
    let in_quads = output.width.is_multiple_of(QUAD);
    let order = if in_quads { Order::PixelQuads { lanes } } else { Order::ChannelQuads };
    stages[at].tensor.layout = Layout { ring: Some(rows), order, ..Layout::nhwc(vectors * lanes) };
    stages[at].tile = Some(Tile::Depthwise(DepthwiseTile { rows: 2 / window.stride[0].min(2), cols: COLUMNS }));
    if let Some(project) = stages.get_mut(at + 1) {
        let channels = project.tensor.shape.channels;
        let unit = if in_quads { QUAD } else { 1 };
        project.tile = Some(product(isa, rows * output.width, unit, channels, vectors * lanes / QUAD));
    }
}

/// The tile of a convolution of pixels that follow each other, or of the classifier; its pixels are a multiple of
/// `unit`.
pub fn product(isa: Isa, pixels: usize, unit: usize, channels: usize, k: usize) -> Tile {
    let (mr, nv) = cost::product_tile(isa, pixels, unit, split(isa, channels).0.max(1), k);
    gemm(mr, nv)
}

/// Quads of activations that a sum of `op` goes over.
pub fn quads(op: &Op, input: Tensor) -> usize {
    match op {
        Op::Conv2d(conv) => {
            let [kh, kw] = conv.window.kernel;
            kh * (kw * input.shape.channels).div_ceil(QUAD)
        }
        _ => input.shape.channels.div_ceil(QUAD),
    }
}

fn gemm(mr: usize, nv: usize) -> Tile {
    Tile::Gemm(GemmTile { mr, nv, chunk: 1, images: 1, product: Product::Plain })
}
