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
    /// Bytes of workspace that one of the stages needs.
    pub fn workspace_bytes(&self, stage: &Stage) -> usize {
        match stage.tile {
            // New rows of a ring, or the rows of a tile.
            Some(Tile::Gemm(_)) => {
                dots(stage.op.product(), stage.tensor.layout.ring.unwrap_or(self.rows), stage.tensor.shape)
            }
            _ => 0,
        }
    }
}

/// The fast inner product subtracts one number per pixel.
fn dots(product: Product, rows: usize, output: Shape) -> usize {
    match product {
        Product::Plain => 0,
        Product::Fast => (rows * output.width + SLACK) * size_of::<f32>(),
    }
}
