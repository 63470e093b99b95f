//! A convolution as matrix products: its panels of output channels, and the kernels that make them.

use super::isa::Isa;
use super::kernel::Gemm;
use crate::ir::{Epilogue, GemmTile, Graph, Op, ParamId, Shape, Tensor, Tile, Window};

/// A convolution (or the classifier) with everything that its code depends on.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    pub isa: Isa,
    pub input: Tensor,
    pub output: Tensor,
    pub window: Window,
    pub epilogue: Epilogue,
    pub weight: ParamId,
    pub bias: ParamId,
    pub tile: GemmTile,
}

/// Panels of one form, side by side in a channel group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    /// First vector of the group that they make.
    pub first_vector: usize,
    /// Vectors of a panel.
    pub nv: usize,
    pub count: usize,
    /// Channels in the last vector of a panel.
    pub last: usize,
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
        Some(Self { isa, input, output, window, epilogue, weight, bias, tile })
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
        let (lanes, nv) = (self.isa.lanes(), self.tile.nv);
        let stored = self.output.layout.group;
        let vectors = stored.div_ceil(lanes);
        let last = stored - (vectors - 1) * lanes;
        let (count, rest) = (vectors / nv, vectors % nv);
        let mut panels = Vec::new();
        let mut push = |first_vector, nv, count, last| {
            if count > 0 {
                panels.push(Panels { first_vector, nv, count, last });
            }
        };
        if rest > 0 {
            push(0, nv, count, lanes);
            push(count * nv, rest, 1, last);
        } else if last < lanes {
            push(0, nv, count - 1, lanes);
            push((count - 1) * nv, nv, 1, last);
        } else {
            push(0, nv, count, lanes);
        }
        panels
    }

    /// Floats of one packed panel.
    pub fn panel_floats(&self, panels: &Panels) -> usize {
        (1 + self.k()) * panels.nv * self.isa.lanes()
    }

    /// The kernel that makes a panel of `rows` output rows.
    pub fn gemm(&self, panels: &Panels, rows: usize) -> Gemm {
        let [kh, kw] = self.window.kernel;
        let [sh, sw] = self.window.stride;
        let (from, to) = (self.input.layout, self.output.layout);
        Gemm {
            isa: self.isa,
            runs: kh,
            run: kw * self.channels_in(),
            rows,
            cols: self.output.shape.width,
            a_pixel: sw * from.pixel_stride(),
            a_row: sh * from.row_stride(self.input.shape),
            c_pixel: to.pixel_stride(),
            c_row: to.row_stride(self.output.shape),
            mr: self.tile.mr,
            nv: panels.nv,
            last: panels.last,
            epilogue: self.epilogue,
        }
    }

    /// Where the first pixel of the image lies in a value that is held whole.
    pub fn interior(tensor: Tensor) -> usize {
        let Shape { height, .. } = tensor.shape;
        if height == 0 { 0 } else { tensor.layout.offset(tensor.shape, 0, 0, 0) }
    }

    /// Names of kernel and bias.
    pub fn names<'g>(&self, graph: &'g Graph) -> (&'g str, &'g str) {
        (&graph.param(self.weight).name, &graph.param(self.bias).name)
    }
}
