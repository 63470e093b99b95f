//! A float convolution as matrix products: its panels of output channels, and how a team shares them.

use super::cover::near_equal;
use super::float::{Tail, split};
use super::team::Thread;
use crate::ir::{Epilogue, Factors, GemmTile, Op, ParamId, Product, Shape, Tensor, Tile, Window};
use crate::target::{Isa, IsaFacts};
use mbvc_runtime::Team;

/// A convolution or the classifier, with everything that its code depends on.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Value that the convolution reads.
    pub input: Tensor,
    /// Output before pooling.
    pub output: Tensor,
    /// Window of the convolution; [`Window::POINT`] for a classifier.
    pub window: Window,
    /// Epilogue of the sums.
    pub epilogue: Epilogue,
    /// Weights: `[kh, kw, in, out]`, or `[in, out]` for a classifier.
    pub weight: ParamId,
    /// Bias: `[out]`.
    pub bias: ParamId,
    /// Register tile of whole panels, in plain and block products.
    pub tile: GemmTile,
    /// Inner product: plain, fast (or plain, if the weights require it), or block.
    pub product: Product,
    /// Number types of the factors of the products.
    pub factors: Factors,
}

/// Panels of one form, side by side in a channel group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    /// First channel within the group.
    pub first: usize,
    /// Lanes of a vector: those of the instruction set, or half of them for the last few channels.
    pub lanes: usize,
    /// Vectors per panel.
    pub nv: usize,
    /// Number of panels, side by side.
    pub count: usize,
    /// Channels in the last vector of a panel.
    pub last: usize,
}

impl Panels {
    /// Returns the panels that replace each of these in the fast inner product, one vector wide. Their first channels are
    /// relative to that of the panel.
    pub fn vectors(&self) -> Vec<Self> {
        let Self { lanes, nv, last, .. } = *self;
        let whole = if last == lanes { nv } else { nv - 1 };
        let forms = [(0, whole, lanes), (whole, nv - whole, last)].into_iter().filter(|(_, count, _)| *count > 0);
        forms.map(|(at, count, last)| Self { first: at * lanes, lanes, nv: 1, count, last }).collect()
    }

    /// Returns the channels of a panel, including unused lanes.
    pub fn width(&self) -> usize {
        self.nv * self.lanes
    }
}

impl Conv {
    /// Returns `None` for an operation that is not a dense product, or that has no tile or no bias.
    pub fn new(isa: Isa, op: &Op, input: Tensor, output: Tensor, tile: Option<Tile>) -> Option<Self> {
        let Some(Tile::Gemm(tile)) = tile else { return None };
        let (window, epilogue, weight, bias) = match op {
            Op::Conv2d(conv) => (conv.window, conv.epilogue, conv.weight, conv.bias?),
            Op::Dense(dense) => (Window::POINT, Epilogue::default(), dense.weight, dense.bias),
            _ => return None,
        };
        let output = Tensor { shape: epilogue.unpooled(output.shape), ..output };
        let (product, factors) = (op.product(), op.factors());
        Some(Self { isa, input, output, window, epilogue, weight, bias, tile, product, factors })
    }

    /// Returns the products summed per output.
    pub fn k(&self) -> usize {
        let [kh, kw] = self.window.kernel;
        kh * kw * self.channels_in()
    }

    /// Returns the channels of an input pixel.
    pub fn channels_in(&self) -> usize {
        self.input.shape.channels
    }

    /// Returns the panels of one channel group of the output.
    pub fn panels(&self) -> Vec<Panels> {
        let (isa, lanes, nv) = (self.isa, self.isa.lanes(), self.tile.nv);
        let (vectors, tail) = split(isa, self.output.layout.group);
        let (count, rest) = (vectors / nv, vectors % nv);
        let mut panels = Vec::new();
        let mut push = |first, lanes, nv, count, last| {
            if count > 0 {
                panels.push(Panels { first, lanes, nv, count, last });
            }
        };
        push(0, lanes, nv, count, lanes);
        let at = count * nv * lanes;
        match tail {
            Tail::Masked(last) => push(at, lanes, rest + 1, 1, last),
            Tail::None | Tail::Half(..) if rest > 0 => push(at, lanes, rest, 1, lanes),
            _ => {}
        }
        if let Tail::Half(last) = tail {
            push(vectors * lanes, lanes / 2, 1, 1, last);
        }
        panels
    }

    /// Returns the floats of one packed panel: a row of biases and the rows of K weights.
    pub fn panel_floats(&self, panels: &Panels) -> usize {
        (1 + self.factors.rows(self.k())) * panels.width()
    }

    /// Returns the floats of the packed panels that replace a panel in the fast inner product. Each of them is one vector
    /// wide and has a row of scales before the biases.
    pub fn fast_floats(&self, panels: &Panels) -> usize {
        self.panel_floats(panels) + panels.width()
    }

    /// Returns the floats that a channel group's panels take in either inner product. For the plain one, only the first
    /// row of scales is reserved, and zero, so the fast one takes at least as many.
    pub fn group_floats(&self) -> usize {
        let floats = |panels| if self.is_fast() { self.fast_floats(panels) } else { self.panel_floats(panels) };
        self.panels().iter().map(|panels| panels.count * floats(panels)).sum()
    }

    /// Whether the fast inner product may be used.
    pub fn is_fast(&self) -> bool {
        self.product == Product::Fast
    }

    /// Returns how `rows` output rows can be split: at any pixel if the rows are contiguous, otherwise between rows.
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

    /// Returns the parts of `rows` output rows as `(size, count)`, for `threads` threads that share the panels. The
    /// number of parts balances the load of the threads.
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
        // A pool adds all pixels in sequence.
        let most = if self.epilogue.pool.is_some() { 1 } else { threads.min(total) };
        // Each piece must contain at least one whole block.
        let shortest = if self.product.depth().is_some() && self.cut(rows).flat { self.tile.mr } else { 1 };
        for parts in 2..=most {
            let cuts = near_equal(total, total.div_ceil(parts));
            if cuts.iter().any(|(size, _)| *size < shortest) {
                break;
            }
            // Another part reads the weights once more and has smaller register tiles, so it must gain at least 5 %.
            if longest(&cuts) * 20 < longest(&best) * 19 {
                best = cuts;
            }
        }
        best
    }

    /// Returns the offset of the image's first pixel in a value that is held whole.
    pub fn interior(tensor: Tensor) -> usize {
        let Shape { height, .. } = tensor.shape;
        if height == 0 { 0 } else { tensor.layout.offset(tensor.shape, 0, 0, 0) }
    }
}

/// Split of a call's pixels into pieces that different threads can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Whether pieces are pixels instead of rows.
    pub flat: bool,
    /// Number of pieces in the call.
    pub total: usize,
    /// Output pixels per piece.
    pub pixels: usize,
    /// Elements of the input from one piece to the next.
    pub input: usize,
    /// Elements of the output from one piece to the next.
    pub output: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_a_panel_have_the_same_channels() {
        let panels = |first, nv, count, last| Panels { first, lanes: 16, nv, count, last };
        assert_eq!(panels(64, 3, 2, 16).vectors(), [panels(0, 1, 3, 16)]);
        assert_eq!(panels(64, 3, 1, 9).vectors(), [panels(0, 1, 2, 16), panels(32, 1, 1, 9)]);
        assert_eq!(panels(64, 1, 1, 9).vectors(), [panels(0, 1, 1, 9)]);
        assert_eq!(Panels { lanes: 8, ..panels(64, 1, 1, 5) }.vectors(), [Panels { lanes: 8, ..panels(0, 1, 1, 5) }]);
    }
}
