//! The kernels of a convolution.

use super::kernel::{Dots, Gemm};
use crate::ir::{ElementType, Product};
pub use crate::schedule::conv::{Conv, Panels};
use crate::schedule::float::{WIDEST_FAST, widest};
use crate::target::IsaFacts;

impl Conv {
    /// Returns the kernel of a panel for `rows` output rows, with a residual of this type if it adds one. The panels of the
    /// fast inner product are those of [`Panels::vectors`].
    pub fn gemm(&self, panels: &Panels, rows: usize, product: Product, residual: ElementType) -> Gemm {
        let [kh, kw] = self.window.kernel;
        let [sh, sw] = self.window.stride;
        let (from, to) = (self.input.layout, self.output.layout);
        let whole = panels.nv == self.tile.nv && panels.lanes == self.isa.lanes();
        let mr = match product {
            Product::Fast => WIDEST_FAST,
            Product::Blocks { .. } => self.tile.mr,
            Product::Plain | Product::Pairs if whole => self.tile.mr,
            Product::Plain | Product::Pairs => widest(self.isa, panels.nv),
        };
        Gemm {
            isa: self.isa,
            lanes: panels.lanes,
            product,
            factors: self.factors,
            output: self.output.element,
            residual,
            runs: kh,
            run: kw * self.channels_in(),
            rows,
            cols: self.output.shape.width,
            a_pixel: sw * from.pixel_stride(),
            a_row: sh * from.row_stride(self.input.shape),
            c_pixel: to.pixel_stride(),
            c_row: to.row_stride(self.output.shape),
            mr,
            nv: panels.nv,
            last: panels.last,
            epilogue: self.epilogue,
            streams: rows == self.output.shape.height,
            next: 0,
        }
    }

    /// Returns the kernel of the dots that the fast inner product subtracts, for `rows` output rows.
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
}
