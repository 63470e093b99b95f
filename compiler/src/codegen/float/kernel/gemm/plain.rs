//! The plain inner product: one multiply-add per product, or per pair of products of bf16 numbers.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::Gemm;
use crate::codegen::tokens::{lit, pixel_offset, plus, sum, unroll};
use crate::schedule::cover::Tiles;
use crate::target::Broadcast;
use crate::target::IsaFacts;

impl Gemm {
    /// Returns one register tile, unrolled over pixels and vectors.
    pub(super) fn tile(&self, tiles: &Tiles, ahead: &Option<TokenStream>) -> TokenStream {
        let (pixels, lanes) = (tiles.pixels(), self.lanes);
        let products: Vec<_> = match self.factors.round_weights() {
            true => vec![self.pairs(tiles, ahead)],
            false => (0..self.runs).map(|run| self.products(run, tiles, ahead)).collect(),
        };
        let at = (0..self.nv).map(|j| lit(j * lanes));
        let to = pixel_offset([tiles.rows, tiles.cols], self.c_row, self.c_pixel);
        let stores = unroll(
            pixels,
            (0..self.nv)
                .map(|j| {
                    let (at, index) = (plus(&to, j * lanes), lit(j));
                    self.finish(at, j, quote!(sums[P][#index]))
                })
                .collect(),
        );
        let stores = if self.pools() { self.add_to_pool(stores) } else { stores };
        let count = lit(pixels);
        quote! {
            let mut sums = [[#(load(w, #at)),*]; #count];
            #(#products)*
            #stores
        }
    }

    /// Whether to hide the length of short runs from the compiler. It would unroll them fully. With few registers it
    /// would then order the products by weight instead of by pixel, and spill most sums.
    fn hides_run(&self) -> bool {
        self.runs > 1 && self.isa.registers() < 32
    }

    /// Returns the multiply-adds of one run of the window.
    fn products(&self, run: usize, tiles: &Tiles, ahead: &Option<TokenStream>) -> TokenStream {
        let (lanes, panel, pixels) = (self.lanes, self.panel(), tiles.pixels());
        let a = format_ident!("a{run}");
        let first = (1 + run * self.run) * panel;
        let window = pixel_offset([tiles.rows, tiles.cols], self.a_row, self.a_pixel);
        let index: Vec<_> = (0..self.nv).map(lit).collect();
        let at: Vec<_> = (0..self.nv).map(|j| lit(first + j * lanes)).collect();
        let panel_lit = lit(panel);
        let step = |k: TokenStream| {
            let pixel = sum(&[window.clone(), k.clone()]);
            let multiply = unroll(
                pixels,
                quote! {
                    let x = splat(#a, #pixel);
                    #(sums[P][#index] = fma(x, v[#index], sums[P][#index]);)*
                },
            );
            quote! {
                let v = [#(load(w, #k * #panel_lit + #at)),*];
                #multiply
            }
        };
        match self.isa.broadcast() {
            Broadcast::Memory => {
                let (run, step) = (lit(self.run), step(quote!(k)));
                let run = if self.hides_run() { quote!(rt::unseen(#run)) } else { quote!(#run) };
                quote!(for k in 0..#run { #ahead #step })
            }
            Broadcast::Lane => {
                let quads = self.run / lanes;
                let [quads_lit, lanes_lit, quad_panel, count] = [quads, lanes, panel * lanes, pixels].map(lit);
                let load_quad = unroll(pixels, quote!(x[P] = load(#a, #window + quad * #lanes_lit);));
                let multiply =
                    unroll(pixels, quote!(#(sums[P][#index] = fma_lane::<LANE>(x[P], v[#index], sums[P][#index]);)*));
                let main = (quads > 0).then(|| {
                    quote! {
                        for quad in 0..#quads_lit {
                            let mut x = [sums[0][0]; #count];
                            #load_quad
                            rt::each_lane! {
                                let v = [#(load(w, quad * #quad_panel + ROW * #panel_lit + #at)),*];
                                #multiply
                            }
                        }
                    }
                });
                let rest = (quads * lanes..self.run).map(|k| {
                    let k = lit(k);
                    let step = step(quote!(#k));
                    quote!({ #step })
                });
                quote!(#main #(#rest)*)
            }
        }
    }
}
