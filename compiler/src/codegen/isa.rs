//! Names of an instruction set in generated code.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::target::{Isa, IsaFacts};

/// Tokens of an instruction set.
pub trait IsaTokens {
    /// Returns the attribute of functions that use this instruction set.
    fn target_feature(self) -> TokenStream;

    /// Returns the `cfg` predicate of the targets that can have it.
    fn target(self) -> TokenStream;

    /// Returns the variant of the runtime's `Isa`.
    fn variant(self) -> Ident;

    /// Returns the module's name, in the runtime's `simd` and in generated code.
    fn module(self) -> Ident;
}

impl IsaTokens for Isa {
    fn target_feature(self) -> TokenStream {
        match self {
            Self::Portable | Self::Dsp => quote!(),
            Self::Neon => quote!(#[target_feature(enable = "neon")]),
            Self::NeonDot => quote!(#[target_feature(enable = "neon,dotprod")]),
            Self::Avx2 => quote!(#[target_feature(enable = "avx2,fma")]),
            Self::Avx512 => quote!(#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]),
            Self::Wasm128 => quote!(#[target_feature(enable = "simd128")]),
            Self::Wasm128Relaxed | Self::Wasm128Pairs | Self::Wasm128Dot => {
                quote!(#[target_feature(enable = "simd128,relaxed-simd")])
            }
            Self::AvxVnni => quote!(#[target_feature(enable = "avx2,fma,avxvnni")]),
            Self::Avx512Bf16 | Self::AmxBf16 => {
                quote!(#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")])
            }
            Self::Avx512Vnni => {
                quote!(#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")])
            }
        }
    }

    fn target(self) -> TokenStream {
        let architecture = self.architecture().map(|architecture| quote!(target_arch = #architecture));
        // An engine rejects a WebAssembly module with unsupported instructions, even if it never executes them.
        let feature = match self {
            Self::Wasm128 => Some(quote!(target_feature = "simd128")),
            Self::Wasm128Relaxed | Self::Wasm128Pairs | Self::Wasm128Dot => {
                Some(quote!(target_feature = "relaxed-simd"))
            }
            _ => None,
        };
        match (architecture, feature) {
            (Some(architecture), Some(feature)) => quote!(all(#architecture, #feature)),
            (Some(architecture), None) => architecture,
            (None, _) => quote!(all()),
        }
    }

    fn variant(self) -> Ident {
        format_ident!("{self:?}")
    }

    fn module(self) -> Ident {
        format_ident!("{}", self.name())
    }
}
