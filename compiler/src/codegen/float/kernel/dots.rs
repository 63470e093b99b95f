//! The dots of the fast inner product: for each pixel, the dot product of two streams of its channels.
//!
//! The fast inner product subtracts the dot from every output of the pixel. A vector's lanes of pixels are multiplied
//! side by side. A transposition with additions reduces them to one vector of sums.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::{lit, unroll};
use crate::target::{Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dots {
    pub isa: Isa,
    /// Floats per stream.
    pub len: usize,
    pub pixels: usize,
    /// Floats from one pixel to the next.
    pub stride: usize,
}

impl Dots {
    pub fn kernel(&self) -> Kernel {
        let Self { isa, len, pixels, stride } = *self;
        let name = format!("f32_dots_k{len}_px{pixels}_a{stride}__{}", isa.name());
        let doc = format!(" {pixels} pixels: the dot product of two streams of {len} floats each.");
        let (ident, feature, lanes) = (format_ident!("{name}"), isa.target_feature(), isa.lanes());
        let (full, rest) = (pixels / lanes, pixels % lanes);
        let main = (full > 0).then(|| {
            let (full, lanes_lit, step) = (lit(full), lit(lanes), lit(lanes * stride));
            let batch = self.batch(lanes);
            quote! {
                for batch in 0..#full {
                    let (x, y) = (x.at(batch * #step), y.at(batch * #step));
                    let mut d = d.at(batch * #lanes_lit);
                    #batch
                }
            }
        });
        let tail = (rest > 0).then(|| {
            let (first, at) = (lit(full * lanes), lit(full * lanes * stride));
            let batch = self.batch(rest);
            quote! {
                {
                    let (x, y) = (x.at(#at), y.at(#at));
                    let mut d = d.at(#first);
                    #batch
                }
            }
        });
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(x: Src<'_>, y: Src<'_>, mut d: Dst<'_>) {
                #main
                #tail
            }
        };
        Kernel { name, item }
    }

    /// Returns the code for `pixels` dots, with zeros in the other lanes.
    fn batch(&self, pixels: usize) -> TokenStream {
        let lanes = self.isa.lanes();
        let (whole, rest) = (self.len / lanes, self.len % lanes);
        let [stride, all, whole_lit, rest_lit] = [self.stride, lanes, whole, rest].map(lit);
        let done = (whole > 0).then(|| lit(whole * lanes)).map(|done| quote!(+ #done));
        let main = (whole > 0).then(|| {
            let (x, y) = (quote!(load(x, P * #stride + k * #all)), quote!(load(y, P * #stride + k * #all)));
            let multiply = unroll(pixels, quote!(dots[P] = fma(#x, #y, dots[P]);));
            quote!(for k in 0..#whole_lit { #multiply })
        });
        let tail = (rest > 0).then(|| {
            let [x, y] = [quote!(x), quote!(y)].map(|from| quote!(load_first::<#rest_lit>(#from, P * #stride #done)));
            unroll(pixels, quote!(dots[P] = fma(#x, #y, dots[P]);))
        });
        quote! {
            let mut dots = [constant(0.0); #all];
            #main
            #tail
            store(&mut d, 0, sums(dots));
        }
    }
}
