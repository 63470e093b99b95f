//! Products by lane. If an instruction can multiply by one of the four quads of a vector, activations are loaded
//! sixteen at a time, without a broadcast.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

use crate::codegen::tokens::{affine, lit, repeat, sum, unroll};
use crate::schedule::quantized::QUAD;

/// Bytes in four quads.
const SIXTEEN: usize = QUAD * QUAD;

/// Consecutive quads of a tile's pixels, and their weights.
pub struct Run<'a> {
    /// Quads of each pixel: the source and the byte offset.
    pub pixels: &'a [(TokenStream, usize)],
    pub quads: usize,
    /// Offset of the weights, vectors per row, and bytes per vector.
    pub first: usize,
    pub nv: usize,
    pub vector: usize,
}

impl Run<'_> {
    /// Adds the products of four quads at a time, then of each remaining quad.
    pub fn dots(&self) -> TokenStream {
        let turns = self.quads / QUAD;
        let loads = self.pixels.iter().map(|(a, at)| {
            let at = affine(*at, &[("four", SIXTEEN, turns)]);
            quote!(sixteen(#a, #at))
        });
        let index: Vec<_> = (0..self.nv).map(lit).collect();
        let steps = (0..QUAD).map(|quad| {
            let (weights, quad) = (self.weights(quad, turns), lit(quad));
            let dots = unroll(
                self.pixels.len(),
                quote!(#(sums[P][#index] = dot_lane::<#quad>(x[P], v[#index], sums[P][#index]);)*),
            );
            quote!({ #weights #dots })
        });
        let whole = quote!(let x = [#(#loads),*]; #(#steps)*);
        let whole = match turns {
            0 => quote!(),
            // In straight-line code, the compiler would order products by weight and spill sums.
            1 => quote!(for _ in 0..rt::unseen(1) { #whole }),
            _ => repeat("four", turns, whole),
        };
        let left = (turns * QUAD..self.quads).map(|quad| {
            let weights = self.weights(quad, 1);
            let dots = self.pixels.iter().enumerate().map(|(pixel, (a, at))| {
                let [pixel, at] = [pixel, at + quad * QUAD].map(lit);
                quote! {
                    let x = broadcast(#a, #at);
                    #(sums[#pixel][#index] = dot(x, v[#index], sums[#pixel][#index]);)*
                }
            });
            quote!({ #weights #(#dots)* })
        });
        quote!(#whole #(#left)*)
    }

    /// Returns the weights of quad `quad` in each of `turns` iterations.
    fn weights(&self, quad: usize, turns: usize) -> TokenStream {
        let row = self.nv * self.vector;
        let at =
            (0..self.nv).map(|n| affine(self.first + quad * row + n * self.vector, &[("four", QUAD * row, turns)]));
        quote!(let v = [#(weights(w, #at)),*];)
    }
}

/// Adds the products of one quad of each pixel with `nv` vectors: four pixels with contiguous quads at a time, then
/// each remaining pixel. `a` is the source, `at` its offset, and `four` the bytes from four pixels to the next four.
pub fn four_pixels(a: &TokenStream, at: &TokenStream, pixels: usize, four: usize, nv: usize) -> TokenStream {
    let index: Vec<_> = (0..nv).map(lit).collect();
    let whole = pixels / QUAD;
    let loads = (0..whole).map(|group| {
        let at = sum(&[lit(group * four).to_token_stream(), at.clone()]);
        quote!(sixteen(#a, #at))
    });
    let dots = (whole > 0).then(|| {
        let dots = unroll(
            whole * QUAD,
            quote!(#(sums[P][#index] = dot_lane::<{ P % 4 }>(x[P / 4], v[#index], sums[P][#index]);)*),
        );
        quote!({ let x = [#(#loads),*]; #dots })
    });
    let left = (whole * QUAD..pixels).map(|pixel| {
        let (place, pixel) = (lit(whole * four + pixel % QUAD * QUAD), lit(pixel));
        let place = sum(&[place.to_token_stream(), at.clone()]);
        quote! {
            let x = broadcast(#a, #place);
            #(sums[#pixel][#index] = dot(x, v[#index], sums[#pixel][#index]);)*
        }
    });
    quote!(#dots #(#left)*)
}
