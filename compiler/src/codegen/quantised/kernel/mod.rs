//! Loop nests over bytes, one a file.

mod depthwise;
mod interleave;
mod lanes;
mod produce;
mod product;

pub use depthwise::Depthwise;
pub use interleave::Interleave;
pub use produce::Produce;
pub use product::{Activations, Ending, Product};

use mbvc_runtime::quantised::rest::list_bytes;
use proc_macro2::TokenStream;
use quote::quote;

use crate::codegen::kernel::lit;

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

/// Adds the products of what is left of the weights of a run: `dots` are those of quad `k` with a row of `nv` vectors.
/// The list lies at `list`, rows of `row` bytes behind.
fn rests(list: usize, quads: usize, row: usize, nv: usize, dots: TokenStream) -> TokenStream {
    let first = list + list_bytes(quads);
    let at = (0..nv).map(|n| lit(first + n * (row / nv)));
    let [list, row] = [list, row].map(lit);
    quote! {
        for row in 0..rt::quantised::rest::rows(w, #list) {
            let k = rt::quantised::rest::quad(w, #list, row);
            let v = [#(weights(w, #at + row * #row)),*];
            #dots
        }
    }
}
