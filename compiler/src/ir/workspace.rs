//! Memory of an operation besides its value.

use super::{Fused, Node, Product, Shape, Stage, Tensor, Tile};

/// Elements that a vector store can write past the end.
const SLACK: usize = 15;

impl Node {
    /// Bytes of workspace, if it reads `input`.
    pub fn workspace_bytes(&self, input: Option<Tensor>) -> usize {
        match (self.tile, input) {
            // The inputs of all images of a batch.
            (Some(Tile::Gemm(tile)), Some(input)) if tile.images > 1 => tile.images * input.bytes(),
            // The sums over all pixels, padded for vector stores.
            _ if self.tensor.element.is_quantized() && self.op.epilogue().pool.is_some() => {
                (self.tensor.shape.channels + SLACK) * size_of::<i32>()
            }
            (Some(Tile::Gemm(tile)), _) => {
                dots(self.op.product(), tile.chunk, self.op.epilogue().unpooled(self.tensor.shape))
            }
            _ => 0,
        }
    }

    /// Whether the workspace is written before the node runs, once per image of a batch.
    pub fn gathers(&self) -> bool {
        matches!(self.tile, Some(Tile::Gemm(tile)) if tile.images > 1)
    }
}

impl Fused {
    /// Bytes of workspace that one of the stages needs, if the node reads `input`.
    pub fn workspace_bytes(&self, stage: &Stage, input: Option<Tensor>) -> usize {
        match stage.tile {
            _ if stage.tensor.element.is_quantized() => {
                input.and_then(|input| self.widened(stage, input)).map_or(0, Widened::bytes)
            }
            // New rows of a ring, or the rows of a tile.
            Some(Tile::Gemm(_)) => {
                dots(stage.op.product(), stage.tensor.layout.ring.unwrap_or(self.rows), stage.tensor.shape)
            }
            _ => 0,
        }
    }
}

/// Rows of bytes as 16-bit numbers, for the fast inner product of an expansion.
///
/// ```text
/// [row][pixel]([quad][x0, x2, x1, x3] i16, sum of the products x0 * x1 and x2 * x3 i32)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widened {
    /// Channels of a pixel, and pixels of a row.
    pub channels: usize,
    pub cols: usize,
    /// Rows that are held at once.
    pub rows: usize,
}

impl Widened {
    /// Activations that are widened together, and rows that are produced together.
    const QUAD: usize = 4;

    /// Returns the quads of a pixel.
    pub fn quads(self) -> usize {
        self.channels.div_ceil(Self::QUAD)
    }

    /// Returns the bytes of a pixel.
    pub fn pixel(self) -> usize {
        self.quads() * Self::QUAD * size_of::<i16>() + size_of::<i32>()
    }

    /// Returns the bytes of a row.
    pub fn row(self) -> usize {
        self.cols * self.pixel()
    }

    /// Returns the bytes of all rows.
    pub fn bytes(self) -> usize {
        self.rows * self.row()
    }
}

impl Fused {
    /// Returns the widened rows of `input` that a stage reads, if its inner product is the fast one of bytes. They are
    /// those of a row quad, or the whole image if a tile is the whole image.
    pub fn widened(&self, stage: &Stage, input: Tensor) -> Option<Widened> {
        if stage.op.product() == Product::Plain || !stage.tensor.element.is_quantized() {
            return None;
        }
        let Shape { height, width: cols, channels } = input.shape;
        let whole = self.stages.last().is_some_and(|last| last.tensor.shape.height == self.rows);
        Some(Widened { channels, cols, rows: if whole { height } else { Widened::QUAD } })
    }
}

/// The fast inner product subtracts one number per pixel.
fn dots(product: Product, rows: usize, output: Shape) -> usize {
    match product {
        Product::Plain => 0,
        Product::Fast => (rows * output.width + SLACK) * size_of::<f32>(),
    }
}
