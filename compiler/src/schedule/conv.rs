//! A convolution of floats as matrix products: its panels of output channels, and how a team shares them.

use super::cover::near_equal;
use super::float::{Tail, split};
use super::team::Thread;
use crate::ir::{Epilogue, GemmTile, Op, ParamId, Product, Shape, Tensor, Tile, Window};
use crate::target::{Isa, IsaFacts};
use mbvc_runtime::Team;

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

    /// Channels of a pixel of the input.
    pub fn channels_in(&self) -> usize {
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

    /// Sizes and numbers of the parts of the pixels of `rows` output rows, of which `threads` share the panels: as many
    /// parts as let all threads end at nearly the same time.
    pub fn cuts(&self, rows: usize, threads: usize) -> Vec<(usize, usize)> {
        let (panels, total) = (self.panels(), self.cut(rows).total);
        let longest = |cuts: &[(usize, usize)]| {
            let parts = cuts.iter().flat_map(|(size, parts)| std::iter::repeat_n(*size, *parts));
            let units: Vec<usize> = parts
                .flat_map(|size| panels.iter().flat_map(move |p| std::iter::repeat_n(size * p.width(), p.count)))
                .collect();
            let share = |index| &units[Thread { index, team: threads }.share(units.len())];
            (0..threads).map(|index| share(index).iter().sum::<usize>()).max().unwrap_or(0)
        };
        let mut best = near_equal(total, total);
        // A pool adds all pixels, one after the other.
        let most = if self.epilogue.pool.is_some() { 1 } else { threads.min(total) };
        for parts in 2..=most {
            let cuts = near_equal(total, total.div_ceil(parts));
            // Weights that are read once more, and smaller register tiles.
            if longest(&cuts) * 20 < longest(&best) * 19 {
                best = cuts;
            }
        }
        best
    }

    /// Where the first pixel of the image lies in a value that is held whole.
    pub fn interior(tensor: Tensor) -> usize {
        let Shape { height, .. } = tensor.shape;
        if height == 0 { 0 } else { tensor.layout.offset(tensor.shape, 0, 0, 0) }
    }
}

/// The pixels of a call, in pieces that different threads can make.
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
