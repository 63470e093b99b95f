//! Lays out a quantized block that is streamed, and sets its register tiles.
//!
//! ```text
//! expand      -> [group][row / 4][vector][column][lane][row % 4]   a ring of two row quads
//! depthwise   -> [channel / 4][row][column][channel % 4]           the rows that a new row quad completes; where these
//!                                                                  are of whole quads, or two of them are, pixels come
//!                                                                  in quads too
//! projection  -> NHWC
//! ```
//!
//! Layouts belong to edges: what makes a value packs it as the dot products of its reader take it.

use super::border::{border, ring_before_window};
use crate::ir::{DepthwiseTile, Fused, GemmTile, Layout, Op, Order, Padding, Shape, Tensor, Tile, Window};
use crate::schedule::balance::is_balanced;
use crate::schedule::quantized::split;
use crate::schedule::quantized::{self, QUAD};
use crate::schedule::taps::Taps;
use crate::target::{Isa, IsaFacts};

/// The ring of a channel group that stays in the first-level cache until the depthwise has read it.
const RING_CACHE: usize = 32 << 10;
/// What the depthwise leaves of a whole image that the projection's weights can wait for, beside everything else in the
/// second-level cache: then they are read once.
const IMAGE_CACHE: usize = 64 << 10;
/// The same for a team, whose threads share channel groups and then panels of what is held whole: of few rows each would
/// make many that another makes too.
const TEAM_CACHE: usize = 192 << 10;
/// Columns of a depthwise tile: four pixels of four channels are what one store takes.
const COLUMNS: usize = 4;

pub fn stream_quads(fused: &mut Fused, input: Tensor, isa: Isa, threads: usize) {
    ring_before_window(fused, input);
    let Some(at) = fused.stages.iter().position(|stage| matches!(stage.op, Op::DepthwiseConv2d(_))) else { return };
    let (Some(window), Some(producer)) = (fused.stages[at].op.window(), at.checked_sub(1)) else { return };
    let (shape, output) = (fused.stages[producer].tensor.shape, fused.stages[at].tensor.shape);
    let lanes = isa.lanes();
    let vectors = shape.channels.div_ceil(lanes);
    let before = producer.checked_sub(1).map_or(input, |before| fused.stages[before].tensor);
    let k = Taps::of_producer(&fused.stages[producer].op, before, shape.width).steps();
    let cache = if threads > 1 { TEAM_CACHE } else { IMAGE_CACHE };
    // A new row quad completes as many rows of windows as it has rows.
    let streamed = QUAD.div_ceil(window.stride[0]);
    let whole = output.pixels() * vectors * lanes <= cache || output.height <= streamed;
    let rows = if whole { output.height } else { streamed };
    let threads = if whole { threads } else { 1 };
    let ring = |nv| 2 * QUAD * shape.width * nv * lanes;
    let allowed = |nv| ring(nv) <= RING_CACHE && is_balanced(vectors / nv, threads);
    let (mr, nv) = quantized::quad_tile(isa, shape.width, vectors, k, allowed);
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
    let left = filtered(window, output, isa);
    stages[at].tensor.layout = Layout { ring: Some(rows), ..left };
    stages[at].tile = Some(depthwise(window));
    if let Some(project) = stages.get_mut(at + 1) {
        let channels = project.tensor.shape.channels;
        let pixels = [rows * output.width, unit(left.order)];
        project.tile = Some(product(isa, threads, pixels, channels, vectors * lanes / QUAD));
    }
}

/// What a depthwise convolution leaves of `output`, all rows held.
pub fn filtered(window: Window, output: Shape, isa: Isa) -> Layout {
    let lanes = isa.lanes();
    // Windows are complete two rows at a time where none is left out, and the rows are many by two.
    let in_pairs = window.stride[0] == 1 && output.height.is_multiple_of(2) && output.width.is_multiple_of(2);
    let in_quads = output.width.is_multiple_of(QUAD) || in_pairs;
    let order = if in_quads { Order::PixelQuads { lanes } } else { Order::ChannelQuads };
    Layout { order, ..Layout::nhwc(output.channels.next_multiple_of(lanes)) }
}

/// The fewest pixels of a tile of a product that reads them in this order.
pub fn unit(order: Order) -> usize {
    if matches!(order, Order::PixelQuads { .. }) { QUAD } else { 1 }
}

pub fn depthwise(window: Window) -> Tile {
    Tile::Depthwise(DepthwiseTile { rows: 2 / window.stride[0].min(2), cols: COLUMNS })
}

/// The tile of a convolution of `pixels` pixels that follow each other, or of the classifier; its pixels are a multiple
/// of `unit`. The threads of a team share its panels.
pub fn product(isa: Isa, threads: usize, [pixels, unit]: [usize; 2], channels: usize, k: usize) -> Tile {
    let vectors = split(isa, channels).0.max(1);
    let (mr, nv) =
        quantized::product_tile(isa, [pixels, unit], vectors, k, |nv| is_balanced(vectors.div_ceil(nv), threads));
    gemm(mr, nv)
}

pub fn gemm(mr: usize, nv: usize) -> Tile {
    Tile::Gemm(GemmTile { mr, nv, chunk: 1, images: 1 })
}
