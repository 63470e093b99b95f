//! Global average pool. Pixels are added in raster order from zero, and the sum is multiplied by the reciprocal.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::Vectors;
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::lit;
use crate::ir::ElementType;
use crate::target::{Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    pub isa: Isa,
    pub pixels: usize,
    pub channels: usize,
    /// Floats from one pixel to the next.
    pub a_pixel: usize,
}

impl Pool {
    pub fn kernel(&self) -> Kernel {
        let Self { isa, pixels, channels, a_pixel } = *self;
        let name = format!("f32_avgpool_ch{channels}_px{pixels}_a{a_pixel}__{}", isa.name());
        let doc = format!(" Average of {pixels} pixels of {channels} channels.");
        let (ident, feature, lanes) = (format_ident!("{name}"), isa.target_feature(), isa.lanes());
        let (vectors, rest) = (channels / lanes, channels % lanes);
        let lanes_lit = lit(lanes);
        let main = (vectors > 0).then(|| {
            let sum = self.vector(quote!(vector * #lanes_lit), lanes);
            let vectors = lit(vectors);
            quote!(for vector in 0..#vectors { #sum })
        });
        let tail = (rest > 0).then(|| {
            let at = lit(vectors * lanes);
            let sum = self.vector(quote!(#at), rest);
            quote!({ #sum })
        });
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: Src<'_>, mut c: Dst<'_>) { #main #tail }
        };
        Kernel { name, item }
    }

    fn vector(&self, at: TokenStream, channels: usize) -> TokenStream {
        let (pixels, stride) = (lit(self.pixels), lit(self.a_pixel));
        let floats = Vectors { lanes: self.isa.lanes(), element: ElementType::F32 };
        let next = floats.load(quote!(a), quote!(pixel * #stride + #at), channels);
        let share = Literal::f32_unsuffixed(1.0 / self.pixels as f32);
        let end = floats.store(quote!(&mut c), at, quote!(mul(sum, constant(#share))), channels);
        quote! {
            let mut sum = constant(0.0);
            for pixel in 0..#pixels { sum = add(sum, #next); }
            #end
        }
    }
}
