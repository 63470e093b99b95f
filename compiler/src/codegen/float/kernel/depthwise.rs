//! Depthwise convolution of a few output rows, over whole vectors of channels.
//!
//! The input rows include their zero border, so no border code is needed. Weights: `[vector][1 + taps][lanes]`, the
//! bias first, taps in raster order. The taps are added column by column, so that a loaded vector serves every output
//! that its column touches and is then dead.
//!
//! Tiles of several columns are unrolled. With a tile of one column, the kernel is a loop over the row. Each iteration carries the
//! partial sums of the next outputs to the following iteration. WebAssembly needs this form: LLVM sinks all multiply-adds of an
//! unrolled sum to its store, so all inputs of a tile are live at once and V8 spills them.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::{Vectors, activate, dst, epilogue_name, prefix};
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::{affine, idents, lit, repeat};
use crate::ir::{ElementType, Epilogue};
use crate::schedule::cover::near_equal;
use crate::target::{Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depthwise {
    pub isa: Isa,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Output rows per call, and columns of the whole row.
    pub rows: usize,
    pub cols: usize,
    /// Maximum columns of a register tile; 1 for a loop over the row.
    pub tile: usize,
    /// Elements from one input pixel to the next.
    pub a_pixel: usize,
    pub c_pixel: usize,
    pub c_row: usize,
    /// Vectors of channels.
    pub vectors: usize,
    pub epilogue: Epilogue,
    /// Type of the output.
    pub output: ElementType,
}

impl Depthwise {
    /// Returns the input rows that a call reads.
    pub fn input_rows(&self) -> usize {
        (self.rows - 1) * self.stride[0] + self.kernel[0]
    }

    /// Whether each row is computed in a loop. A single pixel is not: its tile has one column on every instruction set.
    fn is_loop(&self) -> bool {
        self.tile == 1 && self.cols > 1
    }

    fn name(&self) -> String {
        let Self { kernel: [kh, kw], stride: [s, _], rows, cols, tile, a_pixel, c_pixel, c_row, vectors, .. } = *self;
        let (epilogue, isa) = (epilogue_name(self.epilogue), self.isa.name());
        let channels = vectors * self.isa.lanes();
        let (tile, prefix) = (tile.min(cols), prefix([ElementType::F32, self.output]));
        format!(
            "{prefix}_dw{kh}x{kw}s{s}{epilogue}_{rows}x{tile}_ch{channels}_px{cols}_a{a_pixel}_c{c_pixel}r{c_row}__{isa}"
        )
    }

    pub fn kernel(&self) -> Kernel {
        let name = self.name();
        let form = match self.is_loop() {
            true => "each row in a loop".to_owned(),
            false => format!("in register tiles of {} x {} pixels", self.rows, self.tile.min(self.cols)),
        };
        let doc = format!(
            " Depthwise {}x{}, stride {}: {} rows of {} pixels, {} vectors of channels, {form}.",
            self.kernel[0], self.kernel[1], self.stride[0], self.rows, self.cols, self.vectors,
        );
        let lanes = self.isa.lanes();
        let taps = self.kernel[0] * self.kernel[1];
        let feature = self.isa.target_feature();
        let (ident, rows, output) = (format_ident!("{name}"), lit(self.input_rows()), dst(self.output));
        let weights = idents("w", taps);
        let per_vector = (1 + taps) * lanes;
        let at = |tap: usize| affine(tap * lanes, &[("vector", per_vector, self.vectors)]);
        let (bias_at, weights_at) = (at(0), (1..=taps).map(at));
        let mut first = 0;
        let nests: Vec<_> = match self.is_loop() {
            true => (0..self.rows).map(|row| self.row(row, &weights)).collect(),
            false => near_equal(self.cols, self.tile)
                .into_iter()
                .map(|(cols, count)| {
                    let nest = self.nest(first, cols, count, &weights);
                    first += cols * count;
                    nest
                })
                .collect(),
        };
        let body = repeat(
            "vector",
            self.vectors,
            quote! {
                let b = load(w, #bias_at);
                #(let #weights = load(w, #weights_at);)*
                #(#nests)*
            },
        );
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #rows], w: Src<'_>, mut c: #output) { #body }
        };
        Kernel { name, item }
    }

    /// Returns `count` tiles of `cols` columns from column `first`.
    fn nest(&self, first: usize, cols: usize, count: usize, weights: &[Ident]) -> TokenStream {
        let lanes = self.isa.lanes();
        let offset =
            |pixel: usize| affine(first * pixel, &[("vector", lanes, self.vectors), ("tile", cols * pixel, count)]);
        let (from, to) = (offset(self.stride[1] * self.a_pixel), offset(self.c_pixel));
        let rows = idents("a", self.input_rows());
        let index = (0..rows.len()).map(lit);
        let tile = self.tile(cols, &rows, weights);
        let body = quote! {
            #(let #rows = a[#index].at(#from);)*
            let mut c = c.at(#to);
            #tile
        };
        let nest = repeat("tile", count, body);
        quote!({ #nest })
    }

    /// Returns one register tile, column by column of the input. An output is stored after its last column.
    fn tile(&self, cols: usize, rows: &[Ident], weights: &[Ident]) -> TokenStream {
        let ([kh, kw], [sh, sw]) = (self.kernel, self.stride);
        let written = Vectors { lanes: self.isa.lanes(), element: self.output };
        let sum = |row: usize, col: usize| format_ident!("c{row}_{col}");
        let outputs = || (0..self.rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        let starts = outputs().map(|(row, col)| {
            let sum = sum(row, col);
            quote!(let mut #sum = b;)
        });
        let columns = (0..(cols - 1) * sw + kw).map(|column| {
            let taps = rows.iter().enumerate().map(|(y, input)| {
                let at = lit(column * self.a_pixel);
                let uses = outputs().filter_map(|(row, col)| {
                    let (ky, kx) = (y.checked_sub(row * sh)?, column.checked_sub(col * sw)?);
                    (ky < kh && kx < kw).then(|| {
                        let (sum, weight) = (sum(row, col), &weights[ky * kw + kx]);
                        quote!(#sum = fma(x, #weight, #sum);)
                    })
                });
                quote!(let x = load(#input, #at); #(#uses)*)
            });
            let done = outputs().filter(|(_, col)| col * sw + kw == column + 1).map(|(row, col)| {
                let at = lit(row * self.c_row + col * self.c_pixel);
                let sum = sum(row, col);
                let value = activate(self.epilogue.activation, quote!(#sum));
                written.store(quote!(&mut c), quote!(#at), value, self.isa.lanes())
            });
            quote!(#(#taps)* #(#done)*)
        });
        quote!(#(#starts)* #(#columns)*)
    }

    /// Returns the loop that computes a row of outputs. When an iteration starts, `c0` is the partial sum of its output, and the sums
    /// after it are those of the next outputs, over the columns loaded so far. The last sum starts in the iteration, at the bias.
    ///
    /// The stride is at most the width of the window.
    fn row(&self, row: usize, weights: &[Ident]) -> TokenStream {
        let ([kh, kw], [sh, sw], lanes) = (self.kernel, self.stride, self.isa.lanes());
        let at = |first: usize| affine(first, &[("vector", lanes, self.vectors)]);
        let (from, to) = (at(0), at(row * self.c_row));
        let (rows, index) = (idents("a", kh), (0..kh).map(|ky| lit(row * sh + ky)));
        let sums = idents("c", (kw - 1) / sw + 1);
        // Multiply-adds of one input column, counted from the first column of the window of `c0`.
        let column = |column: usize| {
            let taps = rows.iter().enumerate().map(|(ky, input)| {
                let at = lit(column * self.a_pixel);
                let uses = sums.iter().enumerate().filter_map(|(output, sum)| {
                    let kx = column.checked_sub(output * sw).filter(|kx| *kx < kw)?;
                    let weight = &weights[ky * kw + kx];
                    Some(quote!(#sum = fma(x, #weight, #sum);))
                });
                quote!(let x = load(#input, #at); #(#uses)*)
            });
            quote!(#(#taps)*)
        };
        let columns: Vec<_> = (0..kw).map(column).collect();
        let (before, within) = columns.split_at(kw - sw);
        let (first, next) = (&sums[0], &sums[1..]);
        let (started, last) = sums.split_at(sums.len() - 1);
        let value = activate(self.epilogue.activation, quote!(#first));
        let written = Vectors { lanes, element: self.output };
        let store = written.store(quote!(&mut c), quote!(0), value, lanes);
        let (cols, step, pixel) = (lit(self.cols), lit(sw * self.a_pixel), lit(self.c_pixel));
        quote!({
            #(let #rows = a[#index].at(#from);)*
            let mut c = c.at(#to);
            #(let mut #started = b;)*
            #(#before)*
            for pixel in 0..rt::unseen(#cols) {
                #(let #rows = #rows.at(pixel * #step);)*
                let mut c = c.at(pixel * #pixel);
                #(let mut #last = b;)*
                #(#within)*
                #store
                #(#started = #next;)*
            }
        })
    }
}
