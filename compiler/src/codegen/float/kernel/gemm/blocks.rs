//! Products of whole blocks, by instructions on tile registers.
//!
//! A block has as many pixels as the registers are configured for. A tile with fewer pixels starts its block at earlier
//! pixels of the row, whose sums it does not use.

use proc_macro2::TokenStream;
use quote::quote;

use super::Gemm;
use crate::codegen::tokens::{lit, repeat, sum};
use crate::ir::Product;
use crate::schedule::blocks;
use crate::schedule::cover::{Tiles, cover};

impl Gemm {
    /// Returns the products that one instruction sums, if the product is of blocks.
    pub(super) fn depth(&self) -> Option<usize> {
        match self.product {
            Product::Blocks { depth } => Some(depth),
            Product::Plain | Product::Fast | Product::Pairs => None,
        }
    }

    /// Returns the register tiles that cover the pixels.
    pub(super) fn tiles(&self) -> Vec<Tiles> {
        match self.depth() {
            Some(_) => blocks::cover(self.rows, self.cols, self.mr, self.flat()),
            None => cover(self.rows, self.cols, self.mr, self.nv, self.flat()),
        }
    }

    /// Returns one register tile: the sums of its blocks, and a loop over its pixels that finishes them.
    pub(super) fn blocks(&self, tiles: &Tiles, depth: usize) -> TokenStream {
        let Tiles { rows, cols, .. } = *tiles;
        let pixels = self.mr;
        let skipped = pixels.saturating_sub(cols);
        let second = match (rows, cols > pixels) {
            (1, false) => None,
            (1, true) => Some(pixels * self.a_pixel),
            _ => Some(self.a_row),
        };
        let starts = [Some(0), second].into_iter().flatten().map(|at| {
            let at = lit(at);
            quote!(a0.at(#at))
        });
        let [stride, steps] = [self.a_pixel, self.run / depth].map(lit);
        let [block_pixels, bytes, count, nv] =
            [pixels, depth * self.input().bytes(), 1 + usize::from(second.is_some()), self.nv].map(lit);
        let panel = self.panel();
        let at = |row: usize, pixel: usize| {
            let (row, pixel) = (lit(row), lit(pixel));
            let row = (rows > 1).then(|| quote!(row * #row)).unwrap_or_default();
            let pixel = (cols > 1).then(|| quote!(pixel * #pixel)).unwrap_or_default();
            sum(&[row, pixel])
        };
        let (from, to) = (at(pixels * panel, panel), at(self.c_row, self.c_pixel));
        let finish = (0..self.nv).map(|vector| {
            let (first, at) = (lit(skipped * panel + vector * self.lanes), lit(vector * self.lanes));
            self.finish(quote!(#at), vector, quote!(load(sums, #first)))
        });
        let out = (!self.pools()).then(|| quote!(let mut c = c.at(#to);));
        let residual = self.epilogue.residual.then(|| quote!(let r = r.at(#to);));
        let body = quote! {
            let sums = sums.at(#from);
            #out
            #residual
            #(#finish)*
        };
        let all = repeat("row", rows, repeat("pixel", cols, body));
        let all = if self.pools() { self.add_to_pool(all) } else { all };
        quote! {
            let sums = multiply::<#block_pixels, #bytes, #count, #nv>(tiles, [#(#starts),*], #stride, w, #steps, &mut memory);
            let sums = w.view(sums);
            #all
        }
    }

    /// Returns how far a tile's block starts before its first pixel, in pixels.
    pub(super) fn pixels_before(&self, tiles: &Tiles) -> usize {
        if self.depth().is_some() { self.mr.saturating_sub(tiles.cols) } else { 0 }
    }
}
