//! The average of all pixels, accumulated as they are computed. A tile adds its pixels to the panel's sums in raster
//! order.
//!
//! The sums are in the output between tiles, since the accumulators of a tile take all registers.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::Gemm;
use crate::codegen::tokens::lit;

impl Gemm {
    /// Returns a store of each vector of the output.
    fn each_vector(&self, value: impl Fn(usize) -> TokenStream) -> TokenStream {
        let stores = (0..self.nv).map(|vector| {
            let at = lit(vector * self.lanes);
            self.written().store(quote!(&mut c), quote!(#at), value(vector), self.channels_of(vector))
        });
        quote!(#(#stores)*)
    }

    fn each_sum(&self) -> impl Iterator<Item = TokenStream> {
        (0..self.nv).map(|vector| {
            let at = lit(vector * self.lanes);
            self.written().load(quote!(c.src()), quote!(#at), self.channels_of(vector))
        })
    }

    pub(super) fn pools(&self) -> bool {
        self.epilogue.pool.is_some()
    }

    /// Returns the code before the first tile.
    pub(super) fn begin_pool(&self) -> Option<TokenStream> {
        self.pools().then(|| self.each_vector(|_| quote!(constant(0.0))))
    }

    /// Returns the end of a tile. `pixels` adds the tile's pixels to `pooled`.
    pub(super) fn add_to_pool(&self, pixels: TokenStream) -> TokenStream {
        let sums = self.each_sum();
        let stores = self.each_vector(|vector| {
            let index = lit(vector);
            quote!(pooled[#index])
        });
        quote! {
            let mut pooled = [#(#sums),*];
            #pixels
            #stores
        }
    }

    /// Returns the code after the last tile.
    pub(super) fn end_pool(&self) -> Option<TokenStream> {
        self.pools().then(|| {
            let share = Literal::f32_unsuffixed(1.0 / (self.rows * self.cols) as f32);
            let sums = self.each_sum();
            let stores = self.each_vector(|vector| {
                let index = lit(vector);
                quote!(mul(pooled[#index], constant(#share)))
            });
            quote!(let pooled = [#(#sums),*]; #stores)
        })
    }
}
