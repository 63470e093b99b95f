//! Dense products that fill row quads: the expansion, and the stem.
//!
//! One call computes one panel of channels for a row quad. Rows outside the image hold the zero point. The window of a
//! pixel is some rows of contiguous bytes, read in quads. If a row is one byte longer than whole quads, the last bytes
//! of a pixel's rows are gathered first into one quad.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};

use super::lanes::Run;
use super::{
    Ahead, CallPanels, Finish, adds_apart, each_panel, each_quad, first_sums, outliers, products_of_tile, vocabulary,
};
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::quantized::pack::outlier_bytes;
use crate::codegen::tokens::{affine, lit, pixel_offset, plus, repeat, sum, unroll};
use crate::schedule::cover::near_equal;
use crate::schedule::quantized::QUAD;
use crate::schedule::taps::Taps;
use crate::target::{DotForm, Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produce {
    pub isa: Isa,
    pub taps: Taps,
    /// Rows from a pixel's window to the window of the pixel below.
    pub stride: usize,
    /// Rows of the quad that are in the image: the first one, and their number.
    pub first: usize,
    pub rows: usize,
    /// Output pixels per row.
    pub cols: usize,
    /// Bytes from an output pixel's window to the next pixel's.
    pub a_pixel: usize,
    /// Bytes from one vector of channels to the next.
    pub c_vector: usize,
    /// Pixels of a register tile, and vectors of channels.
    pub mr: usize,
    pub nv: usize,
    pub finish: Finish,
    /// Form of the dot products.
    pub form: DotForm,
    /// Maximum rows of outlier weights of a quad.
    pub outliers: usize,
    /// Weights to prefetch.
    pub ahead: Ahead,
    /// Panels of a call.
    pub panels: CallPanels,
}

impl Produce {
    /// Returns the sources that a call reads: rows of the input, or gathered pairs of all of them.
    pub fn input_rows(&self) -> usize {
        if self.form == DotForm::Pairs { 1 } else { (self.rows - 1) * self.stride + self.taps.runs }
    }

    fn name(&self) -> String {
        let Self { taps, first, rows, cols, a_pixel, c_vector, mr, nv, .. } = *self;
        let family = if taps.runs == 1 { "pw".to_owned() } else { format!("conv{0}x{0}", taps.runs) };
        let (channels, k) = (nv * self.isa.lanes(), taps.steps() * self.form.depth());
        let panels = self.panels.name();
        let fast = if self.form == DotForm::CrossedWords { "_fast" } else { "" };
        let (finish, ahead, isa) = (self.finish.name(), self.ahead.name(), self.isa.name());
        let end = first + rows;
        format!(
            "u8_{family}{fast}_quads{finish}_{mr}x{channels}{panels}_k{k}_rows{first}to{end}_px{cols}_a{a_pixel}_c{c_vector}{ahead}__{isa}"
        )
    }

    pub fn kernel(&self) -> Kernel {
        let name = self.name();
        let doc = format!(
            " Rows {}..{} of a row quad of {} pixels, {} channels of K = {}, in register tiles of {} pixels x {} vectors.",
            self.first,
            self.first + self.rows,
            self.cols,
            self.panels.count * self.nv * self.isa.lanes(),
            self.taps.steps() * self.form.depth(),
            self.mr,
            self.nv,
        );
        let (ident, feature, rows) = (format_ident!("{name}"), self.isa.target_feature(), lit(self.input_rows()));
        let (range, mut first) = (self.finish.range(), 0);
        let vocabulary = vocabulary(self.isa, false, self.form);
        // Tiles of few sums: fewer rows leave registers for more pixels.
        let mr = if adds_apart(self.form) { self.mr * QUAD / self.rows } else { self.mr };
        let (tiles, quads) = (near_equal(self.cols, mr), self.taps.quads);
        let (all, mut before): (usize, usize) = (tiles.iter().map(|(_, count)| count).sum(), 0);
        let nests = tiles.into_iter().map(|(pixels, count)| {
            let ahead = self.ahead.share(all * quads, before * quads, &[("tile", quads, count), ("k", 1, quads)]);
            let nest = self.nest(first, pixels, count, &ahead);
            first += pixels * count;
            before += count;
            nest
        });
        let ends = self.taps.ends.then(|| self.ends());
        let nests = each_panel(self.panels, self.nv * self.c_vector, quote!(#(#nests)*));
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #rows], w: Src<'_>, h: Src<'_>, mut c: Dst<'_>) {
                #vocabulary
                #range
                #ends
                #nests
            }
        };
        Kernel { name, item }
    }

    /// Gathers the last bytes of all pixels' runs: `[row][pixel][run]`.
    fn ends(&self) -> TokenStream {
        let Self { taps, rows, cols, stride, a_pixel, .. } = *self;
        let at = |pixel: usize, count: usize| {
            let from = affine(taps.run - 1 + pixel * a_pixel, &[("four", QUAD * a_pixel, count)]);
            (from, affine(pixel * QUAD, &[("four", QUAD * QUAD, count)]))
        };
        let whole = cols / QUAD;
        // The remaining pixels of a row are gathered together with some before them.
        let parts = [(0, whole), (cols - QUAD, usize::from(cols % QUAD > 0))];
        let parts = parts.into_iter().filter(|(_, count)| *count > 0);
        let gathers: Vec<_> = parts
            .map(|(pixel, count)| {
                let (from, to) = at(pixel, count);
                let a_pixel = lit(a_pixel);
                let stores = (0..rows).map(|row| {
                    let to = sum(&[lit(row * cols * QUAD).to_token_stream(), to.clone()]);
                    let [a, b, c] = [row * stride, row * stride + 1, row * stride + 2].map(lit);
                    quote!(store_ends::<#a_pixel>([a[#a], a[#b], a[#c]], #from, &mut to, #to);)
                });
                repeat("four", count, quote!(#(#stores)*))
            })
            .collect();
        let bytes = lit(rows * cols * QUAD);
        quote! {
            let mut ends = [0; #bytes];
            {
                let mut to = w.view_mut(&mut ends);
                #(#gathers)*
            }
            let ends = w.view(&ends);
        }
    }

    /// Returns `count` tiles of `pixels` pixels from pixel `first`.
    fn nest(&self, first: usize, pixels: usize, count: usize, ahead: &TokenStream) -> TokenStream {
        let offset = |pixel: usize| affine(first * pixel, &[("tile", pixels * pixel, count)]);
        let column = self.isa.lanes() * QUAD;
        let (from, to) = (offset(self.a_pixel), offset(column));
        let rows = (0..self.input_rows()).map(lit);
        let tile = self.tile(pixels, ahead);
        let ends = self.taps.ends.then(|| {
            let from = offset(QUAD);
            quote!(let ends = ends.at(#from);)
        });
        let body = quote! {
            let a = [#(a[#rows].at(#from)),*];
            #ends
            let mut c = c.at(#to);
            #tile
        };
        let nest = repeat("tile", count, body);
        quote!({ #nest })
    }

    /// Returns the products of gathered pairs of four rows, one pixel at a time. The weights are at offset `first`, and the
    /// outlier weights at `lists`.
    fn pairs(&self, first: usize, lists: usize) -> TokenStream {
        let Taps { runs, quads, .. } = self.taps;
        let (plane, row) = (QUAD * QUAD, self.nv * self.form.bytes(self.isa.lanes()));
        let products = products_of_tile(&quote!(a[0]), self.rows, plane, runs * quads, first);
        let outlier_dots = (0..runs).filter(|_| self.outliers > 0).map(|run| {
            let list = lists + run * outlier_bytes(self.outliers, quads, row);
            let at = pixel_offset([self.rows, 1], QUAD, 0);
            let (first, plane) = (lit(run * quads * plane).to_token_stream(), lit(plane));
            let at = sum(&[first, quote!(k * #plane), at]);
            let dots = unroll(
                self.rows,
                quote! {
                    let x = broadcast(a[0], #at);
                    sums[P][0] = dot(x, v[0], sums[P][0]);
                },
            );
            outliers(list, [quads, self.outliers], row, self.nv, dots)
        });
        quote!(#products #(#outlier_dots)*)
    }

    /// Returns the bytes of four activations.
    fn quad(&self) -> usize {
        if self.form == DotForm::CrossedWords { QUAD * size_of::<i16>() } else { QUAD }
    }

    /// Returns one register tile: sums of `rows * pixels` pixels, row by row.
    fn tile(&self, pixels: usize, ahead: &TokenStream) -> TokenStream {
        let (lanes, width) = (self.isa.lanes(), self.nv * self.isa.lanes());
        let vector = self.form.bytes(lanes);
        let index: Vec<_> = (0..self.nv).map(lit).collect();
        let bias = (0..self.nv).map(|n| lit(n * lanes * 4));
        let tile = [self.rows, pixels];
        let sums = first_sums(self.form, self.rows * pixels, bias);
        let Taps { runs, quads, ends, .. } = self.taps;
        let row = self.nv * vector;
        let lists = width * self.finish.bytes() + self.taps.steps() * row;
        let weights_at = |first: usize, count: usize| {
            let at = (0..self.nv).map(|n| affine(first + n * vector, &[("k", row, count)]));
            quote!(let v = [#(weights(w, #at)),*];)
        };
        let pairs = (self.form == DotForm::Pairs).then(|| self.pairs(width * self.finish.bytes(), lists));
        let products = (0..runs).filter(|_| pairs.is_none()).map(|run| {
            let first = width * self.finish.bytes() + run * quads * row;
            let weights = weights_at(first, quads);
            let at = affine(0, &[("k", self.quad(), quads)]);
            let dots = |at: TokenStream| {
                let row = sum(&[pixel_offset(tile, self.stride, 0), lit(run).to_token_stream()]);
                let at = sum(&[pixel_offset(tile, 0, self.a_pixel), at]);
                unroll(
                    self.rows * pixels,
                    quote! {
                        let x = broadcast(a[#row], #at);
                        #(sums[P][#index] = dot(x, v[#index], sums[P][#index]);)*
                    },
                )
            };
            let outlier_dots = (self.outliers > 0).then(|| {
                let list = lists + run * outlier_bytes(self.outliers, quads, row);
                outliers(list, [quads, self.outliers], row, self.nv, dots(quote!(k * 4)))
            });
            let dots = dots(at);
            let step = quote! {
                #ahead
                #weights
                #dots
            };
            let products = match runs {
                1 if self.isa.dots_by_lane() => {
                    let places = (0..self.rows * pixels).map(|at| {
                        let (row, pixel) = (lit(at / pixels * self.stride), at % pixels);
                        (quote!(a[#row]), pixel * self.a_pixel)
                    });
                    let places: Vec<_> = places.collect();
                    Run { pixels: &places, quads, first, nv: self.nv, vector }.dots()
                }
                _ => each_quad(self.isa, self.form, quads, runs > 1, step),
            };
            quote!(#products #outlier_dots)
        });
        let ends = ends.then(|| {
            let weights = weights_at(width * self.finish.bytes() + runs * quads * row, 1);
            let at = pixel_offset(tile, self.cols * QUAD, QUAD);
            let dots = unroll(
                self.rows * pixels,
                quote! {
                    let x = broadcast(ends, #at);
                    #(sums[P][#index] = dot(x, v[#index], sums[P][#index]);)*
                },
            );
            let outlier_dots = (self.outliers > 0).then(|| {
                let list = lists + runs * outlier_bytes(self.outliers, quads, row);
                outliers(list, [1, self.outliers], row, self.nv, dots.clone())
            });
            quote!({ #weights #dots } #outlier_dots)
        });
        let columns = (0..self.nv).map(|n| {
            let factors = self.finish.load(|row| {
                let at = lit((row * self.nv + n) * lanes * 4);
                quote!(#at)
            });
            let n_lit = lit(n);
            let at = sum(&[lit(n * self.c_vector).to_token_stream(), pixel_offset([1, pixels], 0, lanes * QUAD)]);
            let steps: Vec<_> = (0..QUAD)
                .map(|row| match row.checked_sub(self.first).filter(|row| *row < self.rows) {
                    Some(row) => {
                        let pixel = plus(&quote!(P), row * pixels);
                        self.finish.steps(quote!(sums[#pixel][#n_lit]), quote!(s))
                    }
                    // Zero steps from the zero point.
                    None => quote!(none()),
                })
                .collect();
            let packed = self.finish.pack(&steps);
            let stores = unroll(pixels, quote!(store_quads(&mut c, #at, #packed);));
            quote!({ #factors #stores })
        });
        // The products of a pixel's pairs, which are after its quads.
        let products_of_pixel = (self.form == DotForm::CrossedWords).then(|| {
            let row = pixel_offset(tile, self.stride, 0);
            let at = sum(&[pixel_offset(tile, 0, self.a_pixel), lit(quads * self.quad()).to_token_stream()]);
            unroll(self.rows * pixels, quote!(#(sums[P][#index] = minus(sums[P][#index], a[#row], #at);)*))
        });
        quote! {
            #sums
            #products_of_pixel
            #pairs
            #(#products)*
            #ends
            #(#columns)*
        }
    }
}
