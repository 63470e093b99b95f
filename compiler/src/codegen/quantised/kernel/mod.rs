//! Loop nests over bytes, one a file.

mod depthwise;
mod interleave;
mod produce;
mod product;

pub use depthwise::Depthwise;
pub use interleave::Interleave;
pub use produce::Produce;
pub use product::{Ending, Product};

use proc_macro2::TokenStream;
use quote::quote;

/// How sums become results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The sums carry a bias that one multiply-add takes off; the results have zero point 0 and no limits but 8 bits'.
    Biased,
    /// Whatever they are.
    General,
}

impl Finish {
    /// The suffix of a kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Biased => "_biased",
            Self::General => "",
        }
    }

    /// What a kernel reads of its layer's header.
    fn range(self) -> TokenStream {
        match self {
            Self::Biased => quote!(),
            Self::General => quote!(let range = range(h);),
        }
    }

    /// `sums` in steps of the result's scale.
    fn steps(self, sums: TokenStream, scales: TokenStream) -> TokenStream {
        match self {
            Self::Biased => quote!(steps_of_biased(#sums, #scales)),
            Self::General => quote!(steps(#sums, #scales)),
        }
    }

    /// Four vectors of steps as bytes.
    fn pack(self, steps: &[TokenStream]) -> TokenStream {
        match self {
            Self::Biased => quote!(pack_unlimited([#(#steps),*])),
            Self::General => quote!(pack([#(#steps),*], range)),
        }
    }
}
