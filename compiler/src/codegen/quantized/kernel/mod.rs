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

use mbvc_runtime::quantized::finish_bytes;
use mbvc_runtime::quantized::outliers::list_bytes;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::codegen::tokens::lit;
use crate::spec::Rounding;

/// How sums become results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The sums carry a bias that one multiply-add takes off; the results have zero point 0 and no limits but 8 bits'.
    Biased,
    /// Whatever they are.
    General,
    /// The arithmetic of TensorFlow Lite's reference kernels, where factors are below one half and results have zero point
    /// 0 and no limits but 8 bits'.
    ReferenceSmall,
    /// The same arithmetic, whatever factors and results are.
    Reference,
}

impl Finish {
    /// That of any layer.
    pub fn general(rounding: Rounding) -> Self {
        match rounding {
            Rounding::TfliteReference => Self::Reference,
            Rounding::Xnnpack => Self::General,
        }
    }

    /// The fast one of layers with an activation, as far as their values allow it.
    pub fn fast(rounding: Rounding) -> Self {
        match rounding {
            Rounding::TfliteReference => Self::ReferenceSmall,
            Rounding::Xnnpack => Self::Biased,
        }
    }

    /// The suffix of a kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Biased => "_biased",
            Self::General => "",
            Self::ReferenceSmall => "_reference_small",
            Self::Reference => "_reference",
        }
    }

    /// Bytes of a channel that lie before its weights.
    pub fn bytes(self) -> usize {
        finish_bytes(match self {
            Self::Biased | Self::General => Rounding::Xnnpack,
            Self::ReferenceSmall | Self::Reference => Rounding::TfliteReference,
        })
    }

    /// Loads the factors of a vector: `at` tells where row 1 or 2 of what lies before weights has its part of it.
    fn load(self, at: impl Fn(usize) -> TokenStream) -> TokenStream {
        let (scales, exponents) = (at(1), at(2));
        match self {
            Self::Biased | Self::General => quote!(let s = load_scales(w, #scales);),
            Self::ReferenceSmall => quote!(let s = load_small_multipliers(w, #scales, #exponents);),
            Self::Reference => quote!(let s = load_multipliers(w, #scales, #exponents);),
        }
    }

    /// What a kernel reads of its layer's header.
    fn range(self) -> TokenStream {
        match self {
            Self::Biased => quote!(),
            Self::ReferenceSmall => quote!(),
            Self::General | Self::Reference => quote!(let range = range(h);),
        }
    }

    /// Loads the numbers of a residual add.
    fn addends(self) -> TokenStream {
        match self {
            Self::Biased | Self::General => quote!(let addends = addends(h);),
            Self::ReferenceSmall | Self::Reference => quote!(let addends = fixed_addends(h);),
        }
    }

    /// A residual of `channels` channels at `at` added to `steps`.
    fn add(self, channels: Literal, steps: TokenStream, at: Literal) -> TokenStream {
        match self {
            Self::Biased | Self::General => quote!(add::<#channels>(#steps, r, #at, addends)),
            Self::ReferenceSmall | Self::Reference => quote!(add_by_multiplier::<#channels>(#steps, r, #at, addends)),
        }
    }

    /// `sums` in steps of the result's scale.
    fn steps(self, sums: TokenStream, scales: TokenStream) -> TokenStream {
        match self {
            Self::Biased => quote!(steps_of_biased(#sums, #scales)),
            Self::General => quote!(steps(#sums, #scales)),
            Self::ReferenceSmall => quote!(steps_by_small_multiplier(#sums, #scales)),
            Self::Reference => quote!(steps_by_multiplier(#sums, #scales)),
        }
    }

    /// Four vectors of steps as bytes.
    fn pack(self, steps: &[TokenStream]) -> TokenStream {
        match self {
            Self::Biased | Self::ReferenceSmall => quote!(pack_unlimited([#(#steps),*])),
            Self::General | Self::Reference => quote!(pack([#(#steps),*], range)),
        }
    }
}

/// Adds the products of what is left of the weights of a run: `dots` are those of quad `k` with a row of `nv` vectors.
/// The list lies at `list`, rows of `row` bytes behind.
fn outliers(list: usize, quads: usize, row: usize, nv: usize, dots: TokenStream) -> TokenStream {
    let first = list + list_bytes(quads);
    let at = (0..nv).map(|n| lit(first + n * (row / nv)));
    let [list, row] = [list, row].map(lit);
    quote! {
        for row in 0..rt::quantized::outliers::rows(w, #list) {
            let k = rt::quantized::outliers::quad(w, #list, row);
            let v = [#(weights(w, #at + row * #row)),*];
            #dots
        }
    }
}
