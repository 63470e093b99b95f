//! Differences between the generated items of float and quantized networks: names of the runtime, and parts of the
//! documentation.

use proc_macro2::TokenStream;
use quote::quote;

use crate::spec::Precision;

/// Names in the runtime for one number type.
pub struct Numbers {
    /// Type of the image, the embedding and the logits: a `Number` of the runtime.
    pub number: TokenStream,
    /// Its `Number::Element`, which kernels load and store.
    pub element: TokenStream,
    /// Trait of an image that is read row by row.
    pub image: TokenStream,
    /// Type that the generated type wraps.
    pub model: TokenStream,
    /// Type of the plan that packs weights.
    pub plan: TokenStream,
    /// Module of `simd` with the vocabularies.
    pub vectors: TokenStream,
    /// Preparation of the image for `run`, for the documentation.
    pub prepared: &'static str,
    /// Suffix after the width in the type's documentation.
    pub suffix: String,
    pub quantized: bool,
}

impl Numbers {
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 | Precision::Bf16 => Self {
                number: quote!(f32),
                element: quote!(f32),
                image: quote!(rt::Image),
                model: quote!(rt::float::Model),
                plan: quote!(rt::PackPlan<'static>),
                vectors: quote!(float),
                prepared: "preprocessed",
                suffix: if precision == Precision::F32 { String::new() } else { format!(" in {}", precision.word()) },
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
