//! Gathers the windows of pixels as pairs of 16-bit numbers, in the order in which a product reads them.

use quote::{format_ident, quote};

use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::{affine, lit, repeat, sum};
use crate::schedule::quantized::QUAD;
use crate::target::Isa;

/// Bytes of a pair.
const PAIR: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gather {
    pub isa: Isa,
    /// Rows of a window, and the contiguous bytes of each.
    pub runs: usize,
    pub run: usize,
    /// Rows from a pixel's window to the window of the pixel below.
    pub stride: usize,
    /// Rows of pixels of a call, and pixels of a row.
    pub rows: usize,
    pub cols: usize,
    /// Bytes from a pixel's window to the next pixel's.
    pub a_pixel: usize,
    /// Whether the pairs of four rows are together, `[pixel][pair][row]`. Otherwise there is one row, `[pair][pixel]`.
    pub quads: bool,
}

impl Gather {
    /// Returns the input rows that a call reads.
    pub fn input_rows(&self) -> usize {
        (self.rows - 1) * self.stride + self.runs
    }

    pub fn kernel(&self) -> Kernel {
        let Self { isa, runs, run, stride, rows, cols, a_pixel, quads } = *self;
        let order = if quads { "quads" } else { "planes" };
        let name = format!("u8_pairs_k{runs}x{run}s{stride}_{order}_rows{rows}_px{cols}_a{a_pixel}__{}", isa.name());
        let doc = format!(" {rows} rows of {cols} windows of {runs} x {run} bytes as pairs of 16-bit numbers.");
        let (ident, feature, inputs) = (format_ident!("{name}"), isa.target_feature(), lit(self.input_rows()));
        let pairs = run.div_ceil(2);
        let (pixel, pair) = if quads { (runs * pairs * QUAD * PAIR, QUAD * PAIR) } else { (PAIR, cols * PAIR) };
        let (run_lit, pair_lit) = (lit(run), lit(pair));
        let windows = (0..rows).flat_map(|row| (0..runs).map(move |of_window| (row, of_window)));
        let runs = windows.map(|(row, of_window)| {
            let input = lit(row * stride + of_window);
            let from = affine(0, &[("pixel", a_pixel, cols)]);
            let first = lit(of_window * pairs * pair + row * PAIR);
            let to = sum(&[quote!(#first), affine(0, &[("pixel", pixel, cols)])]);
            quote!(widen::<#run_lit, #pair_lit>(a[#input], #from, &mut c, #to);)
        });
        let body = repeat("pixel", cols, quote!(#(#runs)*));
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #inputs], mut c: Dst<'_>) {
                #body
            }
        };
        Kernel { name, item }
    }
}
