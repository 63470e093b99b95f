//! Assigns layouts and register tiles to a streamed quantized block.
//!
//! ```text
//! expand      -> [group][row / 4][vector][column][lane][row % 4]   a ring of two row quads
//! depthwise   -> [channel / 4][row][column][channel % 4]           the rows that a new row quad completes; in pixel
//!                                                                  quads if a row, or a pair of rows, is whole quads
//! projection  -> NHWC
//! ```
//!
//! Layouts belong to edges: the producer packs a value in the order of its reader's dot products.

use super::border::{border, ring_before_window};
use crate::ir::{DepthwiseTile, Fused, GemmTile, Layout, Op, Order, Padding, Product, Shape, Tensor, Tile, Window};
use crate::schedule::balance::is_balanced;
use crate::schedule::quantized::{self, QUAD};
use crate::schedule::quantized::{dense_form, split};
use crate::schedule::taps::Taps;
use crate::target::{DotForm, Isa, IsaFacts};

/// Bytes of a channel group's ring that stay in the first-level cache until the depthwise has read them.
const RING_CACHE: usize = 32 << 10;
/// Maximum bytes of a whole image's depthwise output that stay in the second-level cache together with all other data.
/// The projection then runs once for the whole image and reads its weights once.
const IMAGE_CACHE: usize = 64 << 10;
/// The same limit for a team. Its threads share the channel groups, then the panels, of a value that is held whole. If
/// each thread took a few rows instead, it would recompute many rows of its neighbors.
const TEAM_CACHE: usize = 192 << 10;
/// Columns of a depthwise tile: one store takes four pixels of four channels.
const COLUMNS: usize = 4;

pub fn stream_quads(fused: &mut Fused, input: Tensor, isa: Isa, threads: usize) {
    ring_before_window(fused, input);
    let Some(at) = fused.stages.iter().position(|stage| matches!(stage.op, Op::DepthwiseConv2d(_))) else { return };
    let (Some(window), Some(producer)) = (fused.stages[at].op.window(), at.checked_sub(1)) else { return };
    let (shape, output) = (fused.stages[producer].tensor.shape, fused.stages[at].tensor.shape);
    let lanes = isa.lanes();
    let vectors = shape.channels.div_ceil(lanes);
    let before = producer.checked_sub(1).map_or(input, |before| fused.stages[before].tensor);
    let form = dense_form(isa, fused.stages[producer].op.product(), before.layout.order);
    let taps = Taps::of_producer(&fused.stages[producer].op, before, shape.width);
    let k = taps.in_steps_of(form.depth()).steps();
    let cache = if threads > 1 { TEAM_CACHE } else { IMAGE_CACHE };
    // A new row quad completes one output row for each `stride` rows.
    let streamed = QUAD.div_ceil(window.stride[0]);
    let whole = output.height <= streamed
        || match isa.multiplies_pairs() {
            // Processors without caches: a ring of all channels or the whole image, whichever takes less memory.
            true => {
                let ring = 2 * QUAD * (shape.width + 2) + streamed * output.width * size_of::<u16>();
                output.pixels() * size_of::<u16>() <= ring
            }
            false => output.pixels() * vectors * lanes <= cache,
        };
    let rows = if whole { output.height } else { streamed };
    let threads = if whole { threads } else { 1 };
    let ring = |nv| 2 * QUAD * shape.width * nv * lanes;
    let allowed = |nv| ring(nv) <= RING_CACHE && is_balanced(vectors / nv, threads);
    let (mr, nv) = quantized::quad_tile((isa, form), shape.width, vectors, k, allowed);
    let group = match isa.multiplies_pairs() {
        true => vectors_of_group(&fused.stages[producer].op, vectors, whole),
        false => nv,
    };
    let groups = if whole { 1 } else { vectors / group };
    let sides = Padding { bottom: 0, ..border(window, shape, output) };
    fused.rows = rows;
    let stages = &mut fused.stages;
    stages[producer].tensor.layout = Layout {
        border: sides,
        ring: Some(2 * QUAD),
        order: Order::RowQuads { lanes, groups },
        ..Layout::nhwc(group * lanes)
    };
    stages[producer].tile = Some(gemm(mr, nv));
    let left = filtered(window, output, isa);
    stages[at].tensor.layout = Layout { ring: Some(rows), ..left };
    stages[at].tile = Some(depthwise(window));
    if let Some(project) = stages.get_mut(at + 1) {
        let channels = project.tensor.shape.channels;
        let pixels = [rows * output.width, unit(left.order)];
        project.tile = Some(product(
            (isa, dense_form(isa, Product::Plain, left.order)),
            threads,
            pixels,
            channels,
            vectors * lanes / isa.quad_form().depth(),
        ));
    }
}

/// Returns the vectors of a channel group whose panels have one vector. A call computes all panels of a group: all
/// channels of streamed rows, which are all held, or a few of an image that is held whole.
fn vectors_of_group(producer: &Op, vectors: usize, whole: bool) -> usize {
    const FEW: usize = 8;
    let most = match producer {
        // A copy is unrolled.
        Op::Repack => 2,
        _ if whole => FEW,
        _ => vectors,
    };
    (1..=most).rev().find(|group| vectors.is_multiple_of(*group)).unwrap_or(1)
}

/// Returns the layout of a depthwise convolution's `output`, all rows held.
pub fn filtered(window: Window, output: Shape, isa: Isa) -> Layout {
    let lanes = isa.lanes();
    // At stride 1, rows complete in pairs. A pair of rows of even width is whole pixel quads.
    let in_pairs = window.stride[0] == 1 && output.height.is_multiple_of(2) && output.width.is_multiple_of(2);
    // A vector of four channels is a quad of them, so that both orders are the same. Tiles of few registers are better
    // not restricted to whole quads of pixels.
    let is_quad = lanes == QUAD && isa.has_few_registers();
    let in_quads = !is_quad && (output.width.is_multiple_of(QUAD) || in_pairs);
    let order = match in_quads {
        _ if isa.multiplies_pairs() => Order::ChannelPairs,
        true => Order::PixelQuads { lanes },
        false => Order::ChannelQuads,
    };
    Layout { order, ..Layout::nhwc(output.channels.next_multiple_of(lanes)) }
}

/// Returns the minimum pixels of a tile of a product that reads them in this order.
pub fn unit(order: Order) -> usize {
    if matches!(order, Order::PixelQuads { .. }) { QUAD } else { 1 }
}

pub fn depthwise(window: Window) -> Tile {
    Tile::Depthwise(DepthwiseTile { rows: 2 / window.stride[0].min(2), cols: COLUMNS })
}

/// Returns the tile of the classifier, or of a convolution over `pixels` consecutive pixels. The tile's pixels are a
/// multiple of `unit`. The threads of a team share its panels.
pub fn product(isa: (Isa, DotForm), threads: usize, [pixels, unit]: [usize; 2], channels: usize, k: usize) -> Tile {
    let vectors = split(isa.0, channels).0.max(1);
    let (mr, nv) =
        quantized::product_tile(isa, [pixels, unit], vectors, k, |nv| is_balanced(vectors.div_ceil(nv), threads));
    gemm(mr, nv)
}

pub fn gemm(mr: usize, nv: usize) -> Tile {
    Tile::Gemm(GemmTile { mr, nv, chunk: 1, images: 1 })
}
