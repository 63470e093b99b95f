//! Dense products of pixels that follow each other: the projection out of channel quads, the head, the classifier.
//!
//! One call makes one panel of output channels. It is written, added to a residual, or summed over the pixels.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Finish, rests};
use crate::codegen::cover::near_equal;
use crate::codegen::isa::Isa;
use crate::codegen::kernel::{Kernel, affine, lit, repeat, unroll};
use crate::codegen::quantised::cost::QUAD;
use crate::codegen::quantised::plan::rest_bytes;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    pub isa: Isa,
    /// Rows of a pixel's window, and quads of activations of each.
    pub runs: usize,
    pub k: usize,
    pub pixels: usize,
    /// Bytes from a pixel to the next, and from a quad to the next.
    pub a_pixel: usize,
    pub a_quad: usize,
    /// Bytes from an output pixel to the next.
    pub c_pixel: usize,
    /// Whether vectors are of half the width.
    pub half: bool,
    /// Pixels of a register tile, and vectors of channels.
    pub mr: usize,
    pub nv: usize,
    /// Channels in the last vector.
    pub last: usize,
    pub finish: Finish,
    pub ending: Ending,
    /// Whether weights have rests.
    pub rest: bool,
}

/// What becomes of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Store,
    /// A residual is added first.
    Add,
    /// They are summed over all pixels, as 32-bit integers.
    Pool,
}

impl Product {
    /// Lanes of its vectors.
    pub fn lanes(&self) -> usize {
        if self.half { self.isa.lanes() / 2 } else { self.isa.lanes() }
    }

    fn name(&self) -> String {
        let Self { pixels, a_pixel, a_quad, c_pixel, mr, nv, .. } = *self;
        let ending = match self.ending {
            Ending::Store => "",
            Ending::Add => "_add",
            Ending::Pool => "_pool",
        };
        let (channels, k) = ((nv - 1) * self.lanes() + self.last, self.runs * self.k * QUAD);
        let family = if self.runs == 1 { "pw".to_owned() } else { format!("conv{0}x{0}", self.runs) };
        let (finish, isa) = (self.finish.name(), self.isa.name());
        format!("u8_{family}{finish}{ending}_{mr}x{channels}_k{k}_px{pixels}_a{a_pixel}q{a_quad}_c{c_pixel}__{isa}")
    }

    pub fn kernel(&self) -> Kernel {
        let name = self.name();
        let doc = format!(
            " {} pixels to {} channels of K = {}, in register tiles of {} pixels x {} vectors.",
            self.pixels,
            (self.nv - 1) * self.lanes() + self.last,
            self.runs * self.k * QUAD,
            self.mr,
            self.nv,
        );
        let (ident, feature) = (format_ident!("{name}"), self.isa.target_feature());
        let vectors = self.half.then(|| {
            let module = self.isa.module();
            quote!(use rt::simd::bytes::#module::half::*;)
        });
        let mut first = 0;
        let nests = near_equal(self.pixels, self.mr).into_iter().map(|(pixels, count)| {
            let nest = self.nest(first, pixels, count);
            first += pixels * count;
            nest
        });
        let nests: Vec<_> = nests.collect();
        let (nv, runs) = (lit(self.nv), lit(self.runs));
        let (residual, begin, end) = match self.ending {
            Ending::Store => (quote!(), quote!(), quote!()),
            Ending::Add => (quote!(, r: Src<'_>), quote!(let addends = addends(h);), quote!()),
            Ending::Pool => {
                let at = (0..self.nv).map(|n| lit(n * self.lanes() * 4));
                let index = (0..self.nv).map(lit);
                let end = quote!(#(store_sums(&mut c, #at, pooled[#index]);)*);
                (quote!(), quote!(let mut pooled = [none(); #nv];), end)
            }
        };
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #runs], w: Src<'_>, h: Src<'_>, mut c: Dst<'_> #residual) {
                #vectors
                let range = range(h);
                #begin
                #(#nests)*
                #end
            }
        };
        Kernel { name, item }
    }

    /// `count` tiles of `pixels` pixels from pixel `first`.
    fn nest(&self, first: usize, pixels: usize, count: usize) -> TokenStream {
        let offset = |pixel: usize| affine(first * pixel, &[("tile", pixels * pixel, count)]);
        let (from, to) = (offset(self.a_pixel), offset(self.c_pixel));
        let (tile, runs) = (self.tile(pixels), (0..self.runs).map(lit));
        let out = (self.ending != Ending::Pool).then(|| quote!(let mut c = c.at(#to);));
        let residual = (self.ending == Ending::Add).then(|| quote!(let r = r.at(#to);));
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

    /// One register tile.
    fn tile(&self, pixels: usize) -> TokenStream {
        let (lanes, width) = (self.lanes(), self.nv * self.lanes());
        let vector = self.isa.dot_weights(lanes);
        let index: Vec<_> = (0..self.nv).map(lit).collect();
        let bias = (0..self.nv).map(|n| lit(n * lanes * 4));
        let (a_pixel, row) = (lit(self.a_pixel), self.nv * vector);
        let products = (0..self.runs).map(|run| {
            let run_lit = lit(run);
            let dots = |at: TokenStream| {
                unroll(
                    pixels,
                    quote! {
                        let x = broadcast(a[#run_lit], P * #a_pixel + #at);
                        #(sums[P][#index] = dot(x, v[#index], sums[P][#index]);)*
                    },
                )
            };
            let first = width * 8 + run * self.k * row;
            let weights = (0..self.nv).map(|n| affine(first + n * vector, &[("k", row, self.k)]));
            let rest = self.rest.then(|| {
                let list = width * 8 + self.runs * self.k * row + run * rest_bytes(true, self.k, row);
                let quad = lit(self.a_quad);
                rests(list, self.k, row, self.nv, dots(quote!(k * #quad)))
            });
            let dots = dots(affine(0, &[("k", self.a_quad, self.k)]));
            let products = repeat(
                "k",
                self.k,
                quote! {
                    let v = [#(weights(w, #weights)),*];
                    #dots
                },
            );
            quote!(#products #rest)
        });
        let ends = (0..self.nv).map(|n| self.end(n, pixels));
        let count = lit(pixels);
        quote! {
            let mut sums = [[#(load_sums(w, #bias)),*]; #count];
            #(#products)*
            #(#ends)*
        }
    }

    /// The results of vector `n` of a tile.
    fn end(&self, n: usize, pixels: usize) -> TokenStream {
        let (lanes, n_lit) = (self.lanes(), lit(n));
        let scale = lit(self.nv * lanes * 4 + n * lanes * 4);
        let channels = if n + 1 == self.nv { self.last } else { lanes };
        let steps = |pixel: TokenStream| self.finish.steps(quote!(sums[#pixel][#n_lit]), quote!(s));
        let ends = if self.ending == Ending::Pool {
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
                            match self.ending {
                                Ending::Add => quote!(add::<#channels>(#steps, r, #residual, addends)),
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
        quote!({ let s = load_scales(w, #scale); #ends })
    }
}

fn steps_at(steps: &impl Fn(TokenStream) -> TokenStream, pixel: usize) -> TokenStream {
    let pixel = lit(pixel);
    steps(quote!(#pixel))
}
