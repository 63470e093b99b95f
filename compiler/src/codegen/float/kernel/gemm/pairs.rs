//! Products with bf16 weights, which are packed in pairs: a vector holds the weights of two products per channel.

use proc_macro2::TokenStream;
use quote::quote;

use super::Gemm;
use crate::codegen::tokens::{lit, pixel_offset, plus, sum, unroll};
use crate::ir::Factors;
use crate::schedule::cover::Tiles;

impl Gemm {
    /// Returns the products of a pointwise window. An odd last weight is paired with zero.
    pub(super) fn pairs(&self, tiles: &Tiles, ahead: &Option<TokenStream>) -> TokenStream {
        let (pairs, rest) = (self.run / 2, self.run % 2);
        let at: Vec<_> = (0..self.nv).map(|j| lit(self.panel() + j * self.lanes)).collect();
        let panel = lit(self.panel());
        let step = |k: TokenStream, products: TokenStream| {
            quote! {
                let v = [#(load_pairs(w, #k * #panel + #at)),*];
                #products
            }
        };
        let window = pixel_offset([tiles.rows, tiles.cols], self.a_row, self.a_pixel);
        let main = (pairs > 0).then(|| {
            let at = sum(&[window.clone(), quote!(2 * k)]);
            let (count, step) = (lit(pairs), step(quote!(k), self.pair(&at, tiles.pixels())));
            quote!(for k in 0..#count { #ahead #step })
        });
        let rest = (rest > 0).then(|| {
            let k = lit(pairs);
            let step = step(quote!(#k), self.single(&plus(&window, 2 * pairs), tiles.pixels()));
            quote!({ #step })
        });
        quote!(#main #rest)
    }

    /// Returns the products of two values per pixel, from `at`, with the weights `v`.
    fn pair(&self, at: &TokenStream, pixels: usize) -> TokenStream {
        let index: Vec<_> = (0..self.nv).map(lit).collect();
        match self.factors {
            Factors::Bf16 => unroll(
                pixels,
                quote! {
                    let x = splat_pair(a0, #at);
                    #(sums[P][#index] = dot(x, v[#index], sums[P][#index]);)*
                },
            ),
            Factors::Bf16Weights | Factors::Exact => {
                let next = plus(at, 1);
                let first = unroll(
                    pixels,
                    quote! {
                        let x = splat(a0, #at);
                        #(sums[P][#index] = fma(x, even(v[#index]), sums[P][#index]);)*
                    },
                );
                let second = unroll(
                    pixels,
                    quote! {
                        let x = splat(a0, #next);
                        #(sums[P][#index] = fma(x, odd(v[#index]), sums[P][#index]);)*
                    },
                );
                quote!(#first #second)
            }
        }
    }

    /// Returns the products of the last value of each pixel, at `at`.
    fn single(&self, at: &TokenStream, pixels: usize) -> TokenStream {
        let index: Vec<_> = (0..self.nv).map(lit).collect();
        match self.factors {
            Factors::Bf16 => unroll(
                pixels,
                quote! {
                    let x = splat_single(a0, #at);
                    #(sums[P][#index] = dot(x, v[#index], sums[P][#index]);)*
                },
            ),
            Factors::Bf16Weights | Factors::Exact => unroll(
                pixels,
                quote! {
                    let x = splat(a0, #at);
                    #(sums[P][#index] = fma(x, even(v[#index]), sums[P][#index]);)*
                },
            ),
        }
    }
}
