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
        match self.factors {
            Factors::Bf16 => self.multiply(pixels, quote!(splat_pair(a0, #at)), |v, sum| quote!(dot(x, #v, #sum))),
            Factors::Bf16Weights | Factors::Exact => {
                let next = plus(at, 1);
                let first = self.multiply(pixels, quote!(splat(a0, #at)), |v, sum| quote!(fma(x, even(#v), #sum)));
                let second = self.multiply(pixels, quote!(splat(a0, #next)), |v, sum| quote!(fma(x, odd(#v), #sum)));
                quote!(#first #second)
            }
        }
    }

    /// Returns the products of the last value of each pixel, at `at`.
    fn single(&self, at: &TokenStream, pixels: usize) -> TokenStream {
        match self.factors {
            Factors::Bf16 => self.multiply(pixels, quote!(splat_single(a0, #at)), |v, sum| quote!(dot(x, #v, #sum))),
            Factors::Bf16Weights | Factors::Exact => {
                self.multiply(pixels, quote!(splat(a0, #at)), |v, sum| quote!(fma(x, even(#v), #sum)))
            }
        }
    }

    /// Returns the additions of `product` to the sums of all vectors, unrolled over pixels, with `x` as a vector.
    fn multiply(
        &self,
        pixels: usize,
        x: TokenStream,
        product: impl Fn(&TokenStream, &TokenStream) -> TokenStream,
    ) -> TokenStream {
        let additions = (0..self.nv).map(lit).map(|j| {
            let sum = quote!(sums[P][#j]);
            let added = product(&quote!(v[#j]), &sum);
            quote!(#sum = #added;)
        });
        unroll(pixels, quote!(let x = #x; #(#additions)*))
    }
}
