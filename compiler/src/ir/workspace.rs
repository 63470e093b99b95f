//! Memory of an operation besides its value.

use super::{Fused, Node, Op, Product, Shape, Stage, Tensor, Tile, Window};

/// Elements that a vector store can write past the end.
const SLACK: usize = 15;
/// Bytes of a cache line.
const LINE: usize = 64;

impl Node {
    /// Bytes of workspace, if it reads `input`.
    pub fn workspace_bytes(&self, input: Option<Tensor>) -> usize {
        match (self.tile, input) {
            // The inputs of all images of a batch.
            (Some(Tile::Gemm(tile)), Some(input)) if tile.images > 1 => tile.images * input.bytes(),
            _ if self.tensor.element.is_quantized() => {
                let widened = input.and_then(|input| self.widened(input));
                self.pool_bytes() + widened.map_or(0, Widened::bytes)
            }
            (Some(Tile::Gemm(tile)), _) => {
                dots(self.op.product(), tile.chunk, self.op.epilogue().unpooled(self.tensor.shape))
            }
            _ => 0,
        }
    }

    /// Bytes of the sums over all pixels at the start of the workspace of a quantized convolution that is pooled, padded
    /// for vector stores.
    pub fn pool_bytes(&self) -> usize {
        match self.op.epilogue().pool {
            Some(_) => ((self.tensor.shape.channels + SLACK) * size_of::<i32>()).next_multiple_of(LINE),
            None => 0,
        }
    }

    /// Returns the widened pixels of `input` at the end of the workspace, if the inner product reads 16-bit numbers.
    pub fn widened(&self, input: Tensor) -> Option<Widened> {
        let widens = self.op.product() != Product::Plain && self.tensor.element.is_quantized();
        let of = WidenedForm::of(self.op.product());
        widens.then(|| Widened { of, run: input.shape.channels, runs: 1, cols: input.shape.pixels(), rows: 1 })
    }

    /// Whether the workspace is written before the node runs, once per image of a batch.
    pub fn gathers(&self) -> bool {
        matches!(self.tile, Some(Tile::Gemm(tile)) if tile.images > 1)
    }
}

impl Fused {
    /// Whether the value of a stage is written and read in one turn of the loop over rows, as the stages' workspaces are.
    /// Two chained blocks never hold such values at the same time: one of them computes its rows, then the other.
    pub fn holds_briefly(&self, stage: &Stage) -> bool {
        matches!(stage.op, Op::DepthwiseConv2d(_))
    }

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

/// Rows of bytes as 16-bit numbers, in the order in which an inner product reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widened {
    /// Order of the numbers.
    pub of: WidenedForm,
    /// Contiguous bytes of a pixel's window.
    pub run: usize,
    /// Runs of contiguous bytes of a pixel's window: its rows.
    pub runs: usize,
    /// Pixels of a row that are held at once.
    pub cols: usize,
    /// Rows that are held at once.
    pub rows: usize,
}

/// Order of widened numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WidenedForm {
    /// For the fast inner product of an expansion: `[row][pixel]([quad][x0, x2, x1, x3] i16, sum of the products x0 * x1
    /// and x2 * x3 i32)`.
    Crossed,
    /// Pairs of each run: `[row / 4][pixel][pair][row % 4][x0, x1]` for an operation that produces row quads, otherwise
    /// `[pair][pixel][x0, x1]`.
    Pairs,
}

impl WidenedForm {
    /// Returns the order that a widening product reads.
    fn of(product: Product) -> Self {
        if product == Product::Pairs { Self::Pairs } else { Self::Crossed }
    }
}

impl Widened {
    /// Activations that are widened together, and rows that are produced together.
    const QUAD: usize = 4;

    /// Returns the quads of a pixel.
    pub fn quads(self) -> usize {
        self.run.div_ceil(Self::QUAD)
    }

    /// Returns the pairs of a pixel.
    pub fn pairs(self) -> usize {
        self.runs * self.run.div_ceil(2)
    }

    /// Returns the bytes of a pixel.
    pub fn pixel(self) -> usize {
        match self.of {
            WidenedForm::Crossed => self.quads() * Self::QUAD * size_of::<i16>() + size_of::<i32>(),
            WidenedForm::Pairs => self.pairs() * 2 * size_of::<i16>(),
        }
    }

    /// Returns the bytes of a row.
    pub fn row(self) -> usize {
        self.cols * self.pixel()
    }

    /// Returns a strip of columns of the rows, which is gathered and read before the next one: the widest that divides
    /// the row evenly, has at least `SOME` columns and at most `SMALL` bytes, or all columns if there is none.
    fn strip(self) -> Self {
        const SMALL: usize = 4 << 10;
        const SOME: usize = 8;
        let strips = (SOME..=self.cols).filter(|cols| self.cols.is_multiple_of(*cols));
        let cols = strips.filter(|cols| self.rows * cols * self.pixel() <= SMALL).max();
        Self { cols: cols.unwrap_or(self.cols), ..self }
    }

    /// Returns the bytes of all rows.
    pub fn bytes(self) -> usize {
        self.rows * self.row()
    }
}

impl Fused {
    /// Returns the widened rows of `input` that a stage reads, if its inner product reads 16-bit numbers. They are
    /// those of a row quad, or the whole image if a tile is the whole image.
    pub fn widened(&self, stage: &Stage, input: Tensor) -> Option<Widened> {
        if stage.op.product() == Product::Plain || !stage.tensor.element.is_quantized() {
            return None;
        }
        let Shape { height, width: cols, .. } = stage.tensor.shape;
        let of = WidenedForm::of(stage.op.product());
        let [runs, columns] = stage.op.window().unwrap_or(Window::POINT).kernel;
        let whole = self.is_whole();
        let rows = match of {
            _ if !whole => Widened::QUAD,
            WidenedForm::Crossed => height,
            WidenedForm::Pairs => (stage.tensor.layout.border.top + height).next_multiple_of(Widened::QUAD),
        };
        let all = Widened { of, run: columns * input.shape.channels, runs, cols, rows };
        Some(if whole || of == WidenedForm::Crossed { all } else { all.strip() })
    }
}

/// The fast inner product subtracts one number per pixel.
fn dots(product: Product, rows: usize, output: Shape) -> usize {
    match product {
        Product::Plain | Product::Pairs | Product::Blocks { .. } => 0,
        Product::Fast => (rows * output.width + SLACK) * size_of::<f32>(),
    }
}
