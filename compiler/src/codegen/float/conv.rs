//! A convolution as matrix products: its panels of output channels, and the kernels that make them.

use super::kernel::{Dots, Gemm};
use crate::ir::{Epilogue, GemmTile, Op, ParamId, Product, Shape, Tensor, Tile, Window};
use crate::schedule::float::{self as cost, Tail, split};
use crate::target::{Isa, IsaFacts};

/// A convolution (or the classifier) with everything that its code depends on.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    /// Whose vectors its kernels are made of.
    pub isa: Isa,
    /// The value that it reads.
    pub input: Tensor,
    /// Before a pool.
    pub output: Tensor,
    /// That of a classifier is [`Window::POINT`].
    pub window: Window,
    /// What is done to its sums.
    pub epilogue: Epilogue,
    /// `[kh, kw, in, out]`; of a classifier `[in, out]`.
    pub weight: ParamId,
    /// `[out]`.
    pub bias: ParamId,
    /// That of whole panels.
    pub tile: GemmTile,
    /// How its products are summed.
    pub product: Product,
}

/// Panels of one form, side by side in a channel group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    /// First channel of the group that they make.
    pub first: usize,
    /// Whose vectors they are made of: the instruction set's, or its half's for a few last channels.
    pub vector: Isa,
    /// Vectors of a panel.
    pub nv: usize,
    /// How many there are, side by side.
    pub count: usize,
    /// Channels in the last vector of a panel.
    pub last: usize,
}

impl Panels {
    /// Channels of a panel, those past the last counted in.
    pub fn width(&self) -> usize {
        self.nv * self.vector.lanes()
    }
}

impl Conv {
    /// `None` for operations that are no dense product, or that the passes left without tile or bias.
    pub fn new(isa: Isa, op: &Op, input: Tensor, output: Tensor, tile: Option<Tile>) -> Option<Self> {
        let Some(Tile::Gemm(tile)) = tile else { return None };
        let (window, epilogue, weight, bias) = match op {
            Op::Conv2d(conv) => (conv.window, conv.epilogue, conv.weight, conv.bias?),
            Op::Dense(dense) => (Window::POINT, Epilogue::default(), dense.weight, dense.bias),
            _ => return None,
        };
        let output = Tensor { shape: epilogue.unpooled(output.shape), ..output };
        Some(Self { isa, input, output, window, epilogue, weight, bias, tile, product: op.product() })
    }

    /// Products that are summed for one output.
    pub fn k(&self) -> usize {
        let [kh, kw] = self.window.kernel;
        kh * kw * self.channels_in()
    }

    fn channels_in(&self) -> usize {
        self.input.shape.channels
    }

    /// The panels of one channel group of the output.
    pub fn panels(&self) -> Vec<Panels> {
        let (isa, lanes, nv) = (self.isa, self.isa.lanes(), self.tile.nv);
        let (vectors, tail) = split(isa, self.output.layout.group);
        let (count, rest) = (vectors / nv, vectors % nv);
        let mut panels = Vec::new();
        let mut push = |first, vector: Isa, nv, count, last| {
            if count > 0 {
                panels.push(Panels { first, vector, nv, count, last });
            }
        };
        push(0, isa, nv, count, lanes);
        let at = count * nv * lanes;
        match tail {
            Tail::Masked(last) => push(at, isa, rest + 1, 1, last),
            Tail::None | Tail::Half(..) if rest > 0 => push(at, isa, rest, 1, lanes),
            _ => {}
        }
        if let Tail::Half(half, last) = tail {
            push(vectors * lanes, half, 1, 1, last);
        }
        panels
    }

    /// Floats of one packed panel: a row of biases, K rows, and before them one of scales for the fast inner product.
    pub fn panel_floats(&self, panels: &Panels) -> usize {
        (usize::from(self.is_fast()) + 1 + self.k()) * panels.width()
    }

    /// Whether its kernels can take the fast inner product.
    pub fn is_fast(&self) -> bool {
        self.product == Product::Fast
    }

    /// The kernel that makes a panel of `rows` output rows.
    pub fn gemm(&self, panels: &Panels, rows: usize, product: Product) -> Gemm {
        let [kh, kw] = self.window.kernel;
        let [sh, sw] = self.window.stride;
        let (from, to) = (self.input.layout, self.output.layout);
        let whole = panels.nv == self.tile.nv && panels.vector == self.isa;
        Gemm {
            isa: self.isa,
            vector: panels.vector,
            product,
            runs: kh,
            run: kw * self.channels_in(),
            rows,
            cols: self.output.shape.width,
            a_pixel: sw * from.pixel_stride(),
            a_row: sh * from.row_stride(self.input.shape),
            c_pixel: to.pixel_stride(),
            c_row: to.row_stride(self.output.shape),
            mr: if whole || self.is_fast() { self.tile.mr } else { cost::widest(self.isa, panels.nv) },
            nv: panels.nv,
            last: panels.last,
            epilogue: self.epilogue,
            streams: rows == self.output.shape.height,
        }
    }

    /// The kernel that makes the numbers which the fast inner product subtracts, for `rows` output rows.
    pub fn dots(&self, rows: usize) -> Dots {
        let [_, sw] = self.window.stride;
        let [kh, kw] = self.window.kernel;
        let k = kw * self.channels_in();
        Dots {
            isa: self.isa,
            len: if kh == 1 { k / 3 } else { k },
            pixels: rows * self.output.shape.width,
            stride: sw * self.input.layout.pixel_stride(),
        }
    }

    /// How `rows` output rows can be cut: at any pixel where they follow each other without a gap, else between rows.
    pub fn cut(&self, rows: usize) -> Cut {
        let Shape { width, .. } = self.output.shape;
        let [sh, sw] = self.window.stride;
        let (from, to) = (self.input.layout, self.output.layout);
        let (a_row, c_row) = (sh * from.row_stride(self.input.shape), to.row_stride(self.output.shape));
        let (a_pixel, c_pixel) = (sw * from.pixel_stride(), to.pixel_stride());
        if self.window.is_point() && a_row == width * a_pixel && c_row == width * c_pixel {
            Cut { flat: true, total: rows * width, pixels: 1, input: a_pixel, output: c_pixel }
        } else {
            Cut { flat: false, total: rows, pixels: width, input: a_row, output: c_row }
        }
    }

    /// Where the first pixel of the image lies in a value that is held whole.
    pub fn interior(tensor: Tensor) -> usize {
        let Shape { height, .. } = tensor.shape;
        if height == 0 { 0 } else { tensor.layout.offset(tensor.shape, 0, 0, 0) }
    }
}

/// The pixels of a call, in pieces that different members can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Pieces are pixels, not rows.
    pub flat: bool,
    /// Pieces of the call.
    pub total: usize,
    /// Output pixels of a piece.
    pub pixels: usize,
    /// Floats of the input from one piece to the next.
    pub input: usize,
    /// Floats of the output from one piece to the next.
    pub output: usize,
}
