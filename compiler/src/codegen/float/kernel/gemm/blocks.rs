//! Block products with tile-register instructions.
//!
//! The register configuration fixes the number of pixels per block. If a tile has fewer pixels, its block starts earlier in
//! the row. The sums of the extra leading pixels are discarded.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::Gemm;
use crate::codegen::tokens::{affine, lit, repeat};
use crate::schedule::blocks;
use crate::schedule::cover::{Tiles, cover};

impl Gemm {
    /// Returns the start of a kernel: the configuration of the tile registers, and memory for their sums.
    pub(super) fn registers(&self) -> Option<TokenStream> {
        self.product.depth().map(|depth| {
            let [pixels, bytes] = self.block_shape(depth);
            quote! {
                let tiles = w.tiles::<#pixels, #bytes>();
                let mut memory = Sums::UNINIT;
            }
        })
    }

    /// Returns the pixels of a block, and the bytes that one instruction reads per pixel.
    fn block_shape(&self, depth: usize) -> [Literal; 2] {
        [self.mr, depth * self.input().bytes()].map(lit)
    }

    /// Returns the register tiles that cover all output pixels.
    pub(super) fn tiles(&self) -> Vec<Tiles> {
        match self.product.depth() {
            Some(_) => blocks::cover(self.rows, self.cols, self.mr, self.flat()),
            None => cover(self.rows, self.cols, self.mr, self.nv, self.flat()),
        }
    }

    /// Returns the code of one register tile. It computes the sums of the blocks, then applies the epilogue pixel by pixel.
    pub(super) fn block_tile(&self, tiles: &Tiles, depth: usize) -> TokenStream {
        let Tiles { rows, cols, .. } = *tiles;
        let pixels = self.mr;
        let skipped = self.pixels_before(tiles);
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
        let [count, nv] = [1 + usize::from(second.is_some()), self.nv].map(lit);
        let [block_pixels, bytes] = self.block_shape(depth);
        let panel = self.panel();
        let at = |row: usize, pixel: usize| affine(0, &[("row", row, rows), ("pixel", pixel, cols)]);
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
            let sums = multiply::<#block_pixels, #bytes, #count, #nv>(&tiles, [#(#starts),*], #stride, w, #steps, &mut memory);
            let sums = w.view(sums);
            #all
        }
    }

    /// Returns the number of pixels by which a tile's block starts before the tile.
    pub(super) fn pixels_before(&self, tiles: &Tiles) -> usize {
        if self.product.depth().is_some() { self.mr.saturating_sub(tiles.cols) } else { 0 }
    }
}
