//! In what the generated items of float and quantized networks differ: names of the runtime, and a few words.

use proc_macro2::TokenStream;
use quote::quote;

use crate::spec::Precision;

/// The runtime's names for one number type.
pub struct Numbers {
    /// Type of the image, the embedding and the logits: a `Number` of the runtime.
    pub number: TokenStream,
    /// Its `Number::Element`, which kernels load and store.
    pub element: TokenStream,
    /// Trait of what is read row by row as an image.
    pub image: TokenStream,
    /// What the generated type wraps.
    pub model: TokenStream,
    /// Type of the plan that packs weights.
    pub plan: TokenStream,
    /// The module of `simd` that has the vocabularies.
    pub vectors: TokenStream,
    /// How the image is prepared for `run`, for its documentation.
    pub prepared: &'static str,
    /// Follows the width in the type's documentation.
    pub suffix: String,
    pub quantized: bool,
}

impl Numbers {
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self {
                number: quote!(f32),
                element: quote!(f32),
                image: quote!(rt::Image),
                model: quote!(rt::float::Model),
                plan: quote!(rt::PackPlan<'static>),
                vectors: quote!(float),
                prepared: "preprocessed",
                suffix: String::new(),
                quantized: false,
            },
            Precision::Int8 | Precision::Uint8 => {
                let number = if precision == Precision::Uint8 { quote!(u8) } else { quote!(i8) };
                Self {
                    model: quote!(rt::quantized::Model<#number>),
                    number,
                    element: quote!(u8),
                    image: quote!(rt::quantized::Quantized),
                    plan: quote!(rt::quantized::QuantPlan<'static>),
                    vectors: quote!(quantized),
                    prepared: "quantized",
                    suffix: format!(" in {}", precision.word()),
                    quantized: true,
                }
            }
        }
    }
}
