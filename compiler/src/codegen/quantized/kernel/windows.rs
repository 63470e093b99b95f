//! Depthwise 3x3 convolution from row quads to pairs of channels, one channel at a time.
//!
//! One call computes the one or two output rows that begin in a quad's first half, or in its second half, which ends in
//! the quad below. The weights of a channel stay in registers.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Depthwise, Finish};
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::{affine, lit, repeat};
use crate::schedule::quantized::QUAD;
use crate::target::{Isa, IsaFacts};

/// Bytes of a result, and of the results of a vector of channels.
const RESULT: usize = 2;
const RESULTS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    pub isa: Isa,
    /// Columns from one window to the next.
    pub stride: usize,
    /// Whether windows begin in the second half of the quad above.
    pub between: bool,
    /// Output rows per call, and columns per row.
    pub rows: usize,
    pub cols: usize,
    /// Vectors of channels.
    pub vectors: usize,
    /// Bytes from one vector to the next, of input and output.
    pub a_vector: usize,
    pub c_vector: usize,
    pub finish: Finish,
}

impl Windows {
    fn name(&self) -> String {
        let Self { stride, rows, cols, vectors, a_vector, c_vector, .. } = *self;
        let (channels, finish, isa) = (vectors * self.isa.lanes(), self.finish.name(), self.isa.name());
        let place = if self.between { "_between" } else { "" };
        format!("u8_dw3x3s{stride}{finish}{place}_{rows}x2_ch{channels}_px{cols}_a{a_vector}_c{c_vector}p__{isa}")
    }

    pub fn kernel(&self) -> Kernel {
        let name = self.name();
        let doc = format!(
            " Depthwise 3x3, stride {}: {} rows of {} pixels, {} vectors of channels.",
            self.stride, self.rows, self.cols, self.vectors
        );
        let (ident, feature, lanes) = (format_ident!("{name}"), self.isa.target_feature(), self.isa.lanes());
        let packed = |first: usize, lane: usize| {
            let vector = Depthwise::packed(self.isa, self.finish, 0);
            affine(first, &[("vector", vector, self.vectors), ("lane", lane, lanes)])
        };
        let bias = packed(0, 4);
        let factors = self.finish.load(|row| packed(row * lanes * 4, 4));
        let weights = packed(lanes * self.finish.bytes(), self.isa.depthwise_form().depthwise_bytes(1));
        // Pairs of columns share columns of the input; one column may remain.
        let (pairs, rest) = (self.cols / 2, self.cols % 2);
        let tiles = [(0, 2, pairs), (2 * pairs, 1, rest)].into_iter().filter(|(_, _, count)| *count > 0);
        let nests = tiles.map(|(first, cols, count)| self.nest(first, cols, count));
        let nests = quote!(#(#nests)*);
        let lane = repeat(
            "lane",
            lanes,
            quote! {
                let b = load_sums(w, #bias);
                #factors
                let taps = taps(w, #weights);
                #nests
            },
        );
        let body = repeat("vector", self.vectors, lane);
        let above = self.between.then(|| quote!(above: Src<'_>,));
        let module = self.isa.module();
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(#above here: Src<'_>, w: Src<'_>, h: Src<'_>, mut c: Dst<'_>) {
                use rt::simd::quantized::#module::channel::*;
                let range = range(h);
                #body
            }
        };
        Kernel { name, item }
    }

    /// Returns `count` tiles of `cols` columns from column `first`.
    fn nest(&self, first: usize, cols: usize, count: usize) -> TokenStream {
        let lanes = self.isa.lanes();
        let offset = |vector: usize, lane: usize, pixel: usize| {
            let terms = [("vector", vector, self.vectors), ("lane", lane, lanes), ("tile", cols * pixel, count)];
            affine(first * pixel, &terms)
        };
        let from = offset(self.a_vector, QUAD, self.stride * lanes * QUAD);
        let to = offset(self.c_vector, RESULT, RESULTS);
        let [rows_lit, cols_lit, stride] = [self.rows, cols, self.stride].map(lit);
        let sums = match self.between {
            true => quote!(between::<#rows_lit, #cols_lit, #stride>(above, here, #from, taps, b)),
            false => quote!(within::<#rows_lit, #cols_lit, #stride>(here, #from, taps, b)),
        };
        let pixels = (0..self.rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        let stores = pixels.map(|(row, col)| {
            let at = lit((row * self.cols + col) * RESULTS);
            let [row, col] = [row, col].map(lit);
            let step = self.finish.steps(quote!(sums[#row][#col]), quote!(s));
            quote!(store_step(&mut c, #at, #step, range);)
        });
        let nest = repeat(
            "tile",
            count,
            quote! {
                let sums = #sums;
                let mut c = c.at(#to);
                #(#stores)*
            },
        );
        quote!({ #nest })
    }
}
