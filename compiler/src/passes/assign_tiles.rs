//! Chooses register tiles with the cost model, for one instruction set.
//!
//! ```text
//! before: conv2d 1x1 : 28x28x192            after: conv2d 1x1 tile 14x2 : 28x28x192
//! ```
//!
//! Precondition: `choose_products` and `assign_layouts` ran. Postcondition: every convolution and the classifier has a
//! tile.

use super::stream_quads;
use crate::ir::{self, Conv2d, DepthwiseTile, Factors, Fused, GemmTile, Graph, Op, Order, Tensor, Tile, Window};
use crate::schedule::blocks;
use crate::schedule::float::{Product, Tail, best_tile, split};
use crate::schedule::quantized::dense_form;
use crate::schedule::taps::Taps;
use crate::target::{Isa, IsaFacts};

/// Bytes of activations that share one pass over the weights while they stay in a near cache.
const CHUNK_CACHE: usize = 64 << 10;

pub fn assign_tiles(graph: &mut Graph, [batch, threads]: [usize; 2], isa: Isa) {
    let Some(order) = graph.order() else { return };
    for id in order {
        let Some(input) = graph.inputs(id).first().map(|input| graph.node(*input).tensor) else { continue };
        let node = graph.node_mut(id);
        let output = node.tensor;
        match &mut node.op {
            // The layouts of quantized blocks depend on their tiles, so both were set together.
            Op::Fused(_) if output.element.is_quantized() => {}
            _ if output.element.is_quantized() && node.tile.is_some() => {}
            op if output.element.is_quantized() => {
                let shape = op.epilogue().unpooled(output.shape);
                // A windowed convolution is computed row by row.
                let windowed = op.window().is_some_and(|window| !window.is_point());
                let pixels = if windowed { shape.width } else { shape.pixels() };
                let unit = stream_quads::unit(input.layout.order);
                // Quads of channels consist of whole vectors.
                let (pixels, form) = ([pixels, unit], dense_form(isa, op.product(), input.layout.order));
                let (k, sharing) = match input.layout.order {
                    Order::Pixels => (Taps::of(op, input).in_steps_of(form.depth()).steps(), threads),
                    _ => (input.layout.group / form.depth(), 1),
                };
                node.tile = Some(stream_quads::product((isa, form), sharing, pixels, output.shape.channels, k));
            }
            Op::Fused(fused) => stages(fused, input, isa),
            op => {
                let tile = match &*op {
                    Op::Conv2d(conv) => Some(conv2d(input, output, conv, isa)),
                    Op::Dense(op) => Some(dense(input, output, op.factors, batch, isa)),
                    Op::DepthwiseConv2d(op) => Some(depthwise(op.window, output.shape.height, output, isa)),
                    _ => None,
                };
                node.tile = tile;
            }
        }
    }
}

fn stages(fused: &mut Fused, input: Tensor, isa: Isa) {
    let rows = fused.rows;
    let mut input = input;
    for stage in &mut fused.stages {
        let output = stage.tensor;
        stage.tile = match &stage.op {
            // A call writes one row of a ring, or the whole ring, or reads a tile of rows from the depthwise buffer.
            Op::Conv2d(conv) => {
                let rows = match output.layout.ring {
                    Some(slots) if slots < output.shape.height => 1,
                    Some(_) => output.shape.height,
                    None => rows,
                };
                Some(gemm(input, output, Dense::of(conv, false), rows, isa))
            }
            Op::DepthwiseConv2d(op) => Some(depthwise(op.window, rows, output, isa)),
            _ => None,
        };
        input = output;
    }
}

/// Properties of a dense product, other than its shapes, that determine its tile.
#[derive(Clone, Copy)]
struct Dense {
    window: Window,
    factors: Factors,
    product: ir::Product,
    /// Whether a call computes a chunk of the rows instead of all.
    in_chunks: bool,
}

impl Dense {
    fn of(conv: &Conv2d, in_chunks: bool) -> Self {
        Self { window: conv.window, factors: conv.factors, product: conv.product, in_chunks }
    }
}

/// Returns the tile of a convolution that is called for `rows` output rows at a time. The tile of the fast inner product is
/// fixed: see [`WIDEST_FAST`](crate::schedule::float::WIDEST_FAST).
fn gemm(input: Tensor, output: Tensor, dense: Dense, rows: usize, isa: Isa) -> Tile {
    let (Dense { window, factors, product, in_chunks }, shape) = (dense, output.shape);
    let [kh, kw] = window.kernel;
    let k = factors.rows(kh * kw * input.shape.channels);
    let (whole, tail) = split(isa, output.layout.group);
    let vectors = whole + usize::from(matches!(tail, Tail::Masked(_)));
    let flat = window.is_point() && is_flat(input) && is_flat(output);
    let whole_groups = output.layout.groups(shape) > 1 || output.layout.ring.is_some();
    let row_bytes = shape.width * window.stride[0] * input.layout.row_stride(input.shape) / input.shape.width.max(1)
        * input.element.bytes();
    let chunk = (1..=rows)
        .filter(|chunk| rows.is_multiple_of(*chunk) && (*chunk == 1 || chunk * row_bytes <= CHUNK_CACHE))
        .max()
        .unwrap_or(1);
    // The last call of a stage may have fewer rows.
    let call = if in_chunks { chunk } else { rows.max(1) };
    let last = if shape.height % call == 0 { call } else { shape.height % call };
    let [row, shortest] = [call, last].map(|rows| if flat { rows * shape.width } else { shape.width });
    let block_pixels = product.depth().map(|_| blocks::pixels(row, shortest));
    let product = Product { rows, cols: shape.width, flat, vectors, k, block_pixels };
    let (mr, nv) = best_tile(isa, product, |nv| !whole_groups || vectors.is_multiple_of(nv));
    Tile::Gemm(GemmTile { mr, nv, chunk, images: 1 })
}

/// Returns the tile of a convolution over a whole tensor. A convolution that pools its result is a single call.
fn conv2d(input: Tensor, output: Tensor, conv: &Conv2d, isa: Isa) -> Tile {
    let shape = conv.epilogue.unpooled(output.shape);
    let tile =
        gemm(input, Tensor { shape, ..output }, Dense::of(conv, conv.epilogue.pool.is_none()), shape.height, isa);
    match tile {
        Tile::Gemm(tile) if conv.epilogue.pool.is_some() => Tile::Gemm(GemmTile { chunk: shape.height, ..tile }),
        tile => tile,
    }
}

/// Returns the classifier's tile. The images of a batch correspond to the pixels of a row in a convolution.
fn dense(input: Tensor, mut output: Tensor, factors: Factors, batch: usize, isa: Isa) -> Tile {
    output.shape.width = batch;
    let dense = Dense { window: Window::POINT, factors, product: ir::Product::Plain, in_chunks: false };
    match gemm(input, output, dense, 1, isa) {
        Tile::Gemm(tile) => Tile::Gemm(GemmTile { images: batch, ..tile }),
        tile @ Tile::Depthwise(_) => tile,
    }
}

fn is_flat(tensor: Tensor) -> bool {
    tensor.layout.row_stride(tensor.shape) == tensor.shape.width * tensor.layout.pixel_stride()
}

/// Returns the depthwise tile: the outputs that fit in registers together with the weights, a loaded value and a spare
/// register. Two rows share their input rows if that leaves room for enough columns.
///
/// If few registers remain beside the weights, the tile is one column, and the kernel computes each row in a loop. The two rows of a
/// call share the loads of the weights.
fn depthwise(window: Window, rows: usize, output: Tensor, isa: Isa) -> Tile {
    const COLUMNS: usize = 7;
    const FEW: usize = 4;
    let [kh, kw] = window.kernel;
    let room = isa.registers().saturating_sub(kh * kw + 2);
    let is_loop = room < FEW;
    let is_roomy = is_loop || room >= 2 * COLUMNS;
    let rows = if window.stride[0] == 1 && rows.is_multiple_of(2) && is_roomy { 2 } else { 1 };
    let cols = if is_loop { 1 } else { (room / rows).min(COLUMNS) };
    Tile::Depthwise(DepthwiseTile { rows, cols: cols.min(output.shape.width) })
}
