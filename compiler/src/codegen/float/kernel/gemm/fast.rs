//! The fast inner product: one product and two sums instead of two products.
//!
//! `(x + v) * (y + u)` is `x*u' + y*v'` at a different scale, plus terms that depend on the pixel or the channel
//! alone. The channel's terms are in the bias. The pixel's terms are the dots, which are subtracted from the initial
//! value of each accumulator. The runtime's `pack` documents the arithmetic and its source. It lays out each triple of
//! rows as `v`, `u` and a third row, which is a plain product. `K` splits into three streams: thirds of a pixel's
//! channels, or the window's three rows.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::Gemm;
use crate::codegen::tokens::{lit, pixel_offset, plus, unroll};
use crate::ir::Product;
use crate::schedule::cover::Tiles;

impl Gemm {
    /// Returns the number of iterations of the loop over triples.
    pub(super) fn triples(&self) -> usize {
        self.runs * self.run / 3
    }

    /// Returns one register tile, unrolled over pixels.
    pub(super) fn fast_tile(&self, tiles: &Tiles, ahead: &Option<TokenStream>) -> TokenStream {
        let (pixels, lanes, triples) = (tiles.pixels(), self.lanes, self.triples());
        let [x, y, z] = [0, 1, 2].map(|stream| self.stream(stream, tiles));
        let dot = pixel_offset([tiles.rows, tiles.cols], self.cols, 1);
        let begin = unroll(pixels, quote!(sums[P] = sub(sums[P], splat(d, #dot));));
        let pairs = unroll(pixels, quote!(sums[P] = pair(#x, #y, v, u, sums[P]);));
        let thirds = unroll(pixels, quote!(sums[P] = fma(splat(#z), t, sums[P]);));
        let end = unroll(pixels, self.fast_finish(pixel_offset([tiles.rows, tiles.cols], self.c_row, self.c_pixel)));
        let end = if self.pools() { self.add_to_pool(end) } else { end };
        let rest = (3 * triples..self.runs * self.run).map(|k| {
            let (row, window) =
                (lit((2 + k) * lanes), pixel_offset([tiles.rows, tiles.cols], self.a_row, self.a_pixel));
            let at = plus(&window, k);
            let multiply = unroll(pixels, quote!(sums[P] = fma(splat(a0, #at), t, sums[P]);));
            quote!({ let t = load(w, #row); #multiply })
        });
        let [bias, v, u, third, step] = [lanes, 2 * lanes, 3 * lanes, 4 * lanes, 3 * lanes].map(lit);
        let [count, triples] = [pixels, triples].map(lit);
        quote! {
            let mut sums = [load(w, #bias); #count];
            #begin
            for k in 0..#triples {
                #ahead
                let (v, u, t) = (load(w, k * #step + #v), load(w, k * #step + #u), load(w, k * #step + #third));
                #pairs
                #thirds
            }
            #(#rest)*
            let s = load(w, 0);
            #end
        }
    }

    /// Returns the arguments for pixel `P`'s value at step `k` of a stream.
    fn stream(&self, stream: usize, tiles: &Tiles) -> TokenStream {
        let window = pixel_offset([tiles.rows, tiles.cols], self.a_row, self.a_pixel);
        match self.runs {
            1 => {
                let at = plus(&window, stream * self.triples());
                quote!(a0, #at + k)
            }
            _ => {
                let row = format_ident!("a{stream}");
                quote!(#row, #window + k)
            }
        }
    }

    /// Returns the scale, activation, residual and store of one vector.
    fn fast_finish(&self, at: TokenStream) -> TokenStream {
        if self.epilogue.residual && self.epilogue.activation.is_none() {
            let residual = self.added().load(quote!(r), at.clone(), self.last);
            return self.put(at, 0, quote!(fma(sums[P], s, #residual)));
        }
        self.finish(at, 0, quote!(mul(sums[P], s)))
    }

    pub(super) fn is_fast(&self) -> bool {
        self.product == Product::Fast
    }
}
