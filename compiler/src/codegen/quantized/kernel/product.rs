//! Dense products of consecutive pixels: the projection from channel quads, the head, and the classifier.
//!
//! One call computes one panel of output channels. The result is stored, added to a residual, or summed over the
//! pixels.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};

use super::lanes::{Run, four_pixels};
use super::{
    Ahead, CallPanels, Finish, adds_apart, each_panel, each_quad, first_sums, in_pairs, outliers, products_of_tile,
    vocabulary,
};
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::quantized::pack::outlier_bytes;
use crate::codegen::tokens::{affine, lit, pixel_offset, repeat, sum, unroll};
use crate::schedule::cover::near_equal;
use crate::schedule::quantized::QUAD;
use crate::target::{DotForm, Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    pub isa: Isa,
    /// Rows of a pixel's window, and quads of activations per row.
    pub runs: usize,
    pub k: usize,
    pub pixels: usize,
    pub a: Activations,
    /// Bytes from one output pixel to the next.
    pub c_pixel: usize,
    /// Whether vectors have half the width.
    pub half: bool,
    /// Pixels of a register tile, and vectors of channels.
    pub mr: usize,
    pub nv: usize,
    /// Channels in the last vector.
    pub last: usize,
    pub finish: Finish,
    pub writeback: Writeback,
    /// Form of the dot products.
    pub form: DotForm,
    /// Maximum rows of outlier weights of a quad.
    pub outliers: usize,
    /// Weights to prefetch.
    pub ahead: Ahead,
    /// Panels of a call.
    pub panels: CallPanels,
}

/// Layout of a product's activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Strides in bytes: from one pixel to the next, and from one quad of channels to the next.
    Strided { pixel: usize, quad: usize },
    /// Pixel quads: `[vector of channels][pixel / 4][quad of channels][pixel % 4]`. `vector` is the stride of a vector
    /// in bytes, and `quads` the quads of channels in it.
    PixelQuads { vector: usize, quads: usize },
}

impl Activations {
    /// Returns the minimum pixels of a tile.
    pub fn unit(self) -> usize {
        match self {
            Self::Strided { .. } => 1,
            Self::PixelQuads { .. } => QUAD,
        }
    }

    /// Returns the bytes from one pixel to the next, for tiles that begin at a multiple of the unit.
    pub fn pixel(self) -> usize {
        match self {
            Self::Strided { pixel, .. } => pixel,
            Self::PixelQuads { quads, .. } => quads * QUAD,
        }
    }

    /// Returns the offset of pixel `P` of a tile.
    fn pixel_in_tile(self) -> TokenStream {
        match self {
            Self::Strided { pixel, .. } => pixel_offset([1, usize::MAX], 0, pixel),
            Self::PixelQuads { quads, .. } => pixel_offset([usize::MAX, QUAD], quads * QUAD * QUAD, QUAD),
        }
    }

    /// Returns the bytes from four pixels to the next four, if their quads are contiguous.
    fn four_pixels(self) -> Option<usize> {
        match self {
            Self::Strided { pixel, .. } => (pixel == QUAD).then_some(QUAD * QUAD),
            Self::PixelQuads { quads, .. } => Some(quads * QUAD * QUAD),
        }
    }

    /// Returns the offset of quad `k` of channels. `k` is only known at run time.
    fn any_quad(self) -> TokenStream {
        match self {
            Self::Strided { quad, .. } => {
                let quad = lit(quad);
                quote!(k * #quad)
            }
            Self::PixelQuads { vector, quads } => {
                let [vector, quads, next] = [vector, quads, QUAD * QUAD].map(lit);
                quote!(k / #quads * #vector + k % #quads * #next)
            }
        }
    }
}

/// Destination of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writeback {
    Store,
    /// A residual is added, and the sum is stored.
    Add,
    /// Results are summed over all pixels, as 32-bit integers.
    Pool,
}

impl Product {
    /// Returns the lanes of a vector.
    pub fn lanes(&self) -> usize {
        if self.half { self.isa.lanes() / 2 } else { self.isa.lanes() }
    }

    fn name(&self) -> String {
        let Self { pixels, c_pixel, mr, nv, .. } = *self;
        let a = match self.a {
            Activations::Strided { pixel, quad } => format!("a{pixel}q{quad}"),
            Activations::PixelQuads { vector, .. } => format!("a{vector}q"),
        };
        let writeback = match self.writeback {
            Writeback::Store => "",
            Writeback::Add => "_add",
            Writeback::Pool => "_pool",
        };
        let (channels, k) = ((nv - 1) * self.lanes() + self.last, self.runs * self.k * self.form.depth());
        let panels = self.panels.name();
        let fast = if self.form == DotForm::CrossedWords { "_fast" } else { "" };
        let family = if self.runs == 1 { "pw".to_owned() + fast } else { format!("conv{0}x{0}", self.runs) };
        let (finish, ahead, isa) = (self.finish.name(), self.ahead.name(), self.isa.name());
        format!("u8_{family}{finish}{writeback}_{mr}x{channels}{panels}_k{k}_px{pixels}_{a}_c{c_pixel}{ahead}__{isa}")
    }

    pub fn kernel(&self) -> Kernel {
        let name = self.name();
        let doc = format!(
            " {} pixels to {} channels of K = {}, in register tiles of {} pixels x {} vectors.",
            self.pixels,
            (self.panels.count * self.nv - 1) * self.lanes() + self.last,
            self.runs * self.k * self.form.depth(),
            self.mr,
            self.nv,
        );
        let (ident, feature) = (format_ident!("{name}"), self.isa.target_feature());
        let vocabulary = vocabulary(self.isa, self.half, self.form);
        let mut first = 0;
        let unit = self.a.unit();
        let tiles = near_equal(self.pixels / unit, self.mr / unit);
        let (all, mut before): (usize, usize) = (tiles.iter().map(|(_, count)| count).sum(), 0);
        let nests = tiles.into_iter().map(|(units, count)| {
            let pixels = units * unit;
            let nest = self.nest(first, pixels, count, &self.ahead(all, before, count));
            first += pixels * count;
            before += count;
            nest
        });
        let size = if self.writeback == Writeback::Pool { size_of::<i32>() } else { 1 };
        let nests = quote!(#(#nests)*);
        let (nv, runs, next) = (lit(self.nv), lit(self.runs), self.ahead.parameter());
        let residual = (self.writeback == Writeback::Add).then(|| quote!(, r: Src<'_>));
        let (addends, begin, end) = match self.writeback {
            Writeback::Store => (quote!(), quote!(), quote!()),
            Writeback::Add => (self.finish.addends(), quote!(), quote!()),
            Writeback::Pool => {
                let at = (0..self.nv).map(|n| lit(n * self.lanes() * 4));
                let index = (0..self.nv).map(lit);
                let end = quote!(#(store_sums(&mut c, #at, pooled[#index]);)*);
                (quote!(), quote!(let mut pooled = [none(); #nv];), end)
            }
        };
        let added = (self.panels.count > 1 && self.writeback == Writeback::Add).then(|| {
            let width = lit(self.nv * self.lanes());
            quote!(let r = r.at(panel * #width);)
        });
        let step = self.nv * self.lanes() * size;
        let work = each_panel(self.panels, step, quote!(#added #begin #nests #end));
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #runs], w: Src<'_>, h: Src<'_>, #next mut c: Dst<'_> #residual) {
                #vocabulary
                let range = range(h);
                #addends
                #work
            }
        };
        Kernel { name, item }
    }

    /// Returns the prefetches at the start of an iteration, for `count` of `all` tiles from tile `first`.
    fn ahead(&self, all: usize, first: usize, count: usize) -> TokenStream {
        let (index, turns) = self.turns();
        self.ahead.share(all * turns, first * turns, &[("tile", turns, count), (index, 1, turns)])
    }

    /// Returns the variable of the loop over quads of activations, and its iterations.
    fn turns(&self) -> (&'static str, usize) {
        match self.a {
            Activations::PixelQuads { quads, .. } if !adds_apart(self.form) => ("vector", self.k / quads),
            _ => ("k", self.k),
        }
    }

    /// Returns `count` tiles of `pixels` pixels from pixel `first`.
    fn nest(&self, first: usize, pixels: usize, count: usize, ahead: &TokenStream) -> TokenStream {
        let offset = |pixel: usize| affine(first * pixel, &[("tile", pixels * pixel, count)]);
        let (from, to) = (offset(self.a.pixel()), offset(self.c_pixel));
        let (tile, runs) = (self.tile(pixels, ahead), (0..self.runs).map(lit));
        let out = (self.writeback != Writeback::Pool).then(|| quote!(let mut c = c.at(#to);));
        let residual = (self.writeback == Writeback::Add).then(|| quote!(let r = r.at(#to);));
        let nest = repeat(
            "tile",
            count,
            quote! {
                let a = [#(a[#runs].at(#from)),*];
                #out
                #residual
                #tile
            },
        );
        quote!({ #nest })
    }

    /// Returns one register tile.
    fn tile(&self, pixels: usize, ahead: &TokenStream) -> TokenStream {
        let (lanes, width) = (self.lanes(), self.nv * self.lanes());
        let vector = self.form.bytes(lanes);
        let index: Vec<_> = (0..self.nv).map(lit).collect();
        let bias = (0..self.nv).map(|n| lit(n * lanes * 4));
        let (pixel, row) = (self.a.pixel_in_tile(), self.nv * vector);
        let products = (0..self.runs).map(|run| {
            let run_lit = lit(run);
            let by_lane = self.isa.dots_by_lane();
            let dots = |at: TokenStream| {
                if let Some(four) = self.a.four_pixels().filter(|_| by_lane) {
                    return four_pixels(&quote!(a[#run_lit]), &at, pixels, four, self.nv);
                }
                let place = sum(&[pixel.clone(), at]);
                unroll(
                    pixels,
                    quote! {
                        let x = broadcast(a[#run_lit], #place);
                        #(sums[P][#index] = dot(x, v[#index], sums[P][#index]);)*
                    },
                )
            };
            let first = width * self.finish.bytes() + run * self.k * row;
            let outlier_dots = (self.outliers > 0).then(|| {
                let list = width * self.finish.bytes()
                    + self.runs * self.k * row
                    + run * outlier_bytes(self.outliers, self.k, row);
                outliers(list, [self.k, self.outliers], row, self.nv, dots(self.a.any_quad()))
            });
            // Quad `inner` of an iteration: of all quads of a vector, or of one quad.
            let step = |inner: usize, turn: &str, inners: usize, turns: usize, at: TokenStream| {
                let terms = [(turn, inners * row, turns)];
                let weights = (0..self.nv).map(|n| affine(first + inner * row + n * vector, &terms));
                let dots = dots(at);
                let ahead = (inner == 0).then_some(ahead);
                quote! {
                    #ahead
                    let v = [#(weights(w, #weights)),*];
                    #dots
                }
            };
            let products = match self.a {
                Activations::Strided { quad, .. } if self.form == DotForm::Pairs => {
                    products_of_tile(&quote!(a[#run_lit]), pixels, quad, self.k, first)
                }
                Activations::Strided { pixel, quad: QUAD } if by_lane && pixel != QUAD => {
                    let places: Vec<_> = (0..pixels).map(|at| (quote!(a[#run_lit]), at * pixel)).collect();
                    Run { pixels: &places, quads: self.k, first, nv: self.nv, vector }.dots()
                }
                Activations::Strided { quad, .. } => {
                    let step = step(0, "k", 1, self.k, affine(0, &[("k", quad, self.k)]));
                    each_quad(self.isa, self.form, self.k, false, step)
                }
                Activations::PixelQuads { .. } if adds_apart(self.form) => {
                    in_pairs(self.isa, self.k, step(0, "k", 1, self.k, self.a.any_quad()))
                }
                Activations::PixelQuads { vector, quads } => {
                    let (_, turns) = self.turns();
                    let steps = (0..quads).map(|inner| {
                        let at = affine(inner * QUAD * QUAD, &[("vector", vector, turns)]);
                        let step = step(inner, "vector", quads, turns, at);
                        quote!({ #step })
                    });
                    repeat("vector", turns, quote!(#(#steps)*))
                }
            };
            quote!(#products #outlier_dots)
        });
        let ends = (0..self.nv).map(|n| self.end(n, pixels));
        let sums = first_sums(self.form, pixels, bias);
        // The products of a pixel's pairs, which are after its quads.
        let products_of_pixel = (self.form == DotForm::CrossedWords).then(|| {
            let at = sum(&[pixel.clone(), lit(self.k * QUAD * size_of::<i16>()).to_token_stream()]);
            unroll(pixels, quote!(#(sums[P][#index] = minus(sums[P][#index], a[0], #at);)*))
        });
        quote! {
            #sums
            #products_of_pixel
            #(#products)*
            #(#ends)*
        }
    }

    /// Returns the results of vector `n` of a tile.
    fn end(&self, n: usize, pixels: usize) -> TokenStream {
        let (lanes, n_lit) = (self.lanes(), lit(n));
        let factors = self.finish.load(|row| {
            let at = lit((row * self.nv + n) * lanes * 4);
            quote!(#at)
        });
        let channels = if n + 1 == self.nv { self.last } else { lanes };
        let steps = |pixel: TokenStream| self.finish.steps(quote!(sums[#pixel][#n_lit]), quote!(s));
        let ends = if self.writeback == Writeback::Pool {
            let steps = steps(quote!(P));
            unroll(pixels, quote!(pooled[#n_lit] = plus(pooled[#n_lit], to_range(#steps, range));))
        } else {
            let groups = (0..pixels).step_by(QUAD).map(|first| {
                let count = QUAD.min(pixels - first);
                let at = n * lanes + first * self.c_pixel;
                let steps: Vec<_> = (0..QUAD)
                    .map(|index| match index < count {
                        false => quote!(none()),
                        true => {
                            let (steps, residual) = (steps_at(&steps, first + index), lit(at + index * self.c_pixel));
                            let channels = lit(channels);
                            match self.writeback {
                                Writeback::Add => self.finish.add(channels, steps, residual),
                                _ => steps,
                            }
                        }
                    })
                    .collect();
                let [at, pixel, count, channels] = [at, self.c_pixel, count, channels].map(lit);
                quote!(store_pixels::<#count, #channels>(&mut c, #at, #pixel, pack([#(#steps),*], range));)
            });
            quote!(#(#groups)*)
        };
        quote!({ #factors #ends })
    }
}

fn steps_at(steps: &impl Fn(TokenStream) -> TokenStream, pixel: usize) -> TokenStream {
    let pixel = lit(pixel);
    steps(quote!(#pixel))
}
