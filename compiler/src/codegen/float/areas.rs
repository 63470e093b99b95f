//! Memory of the values of a step: parts of the scratch, as numbers of the values' types.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::codegen::step::parts;
use crate::ir::{ElementType, Place};

/// A value: its name in generated code, its place in the scratch, and its type.
pub type Area<'a> = (&'a str, Place, ElementType);

/// Returns the statements that bind each name to its part of the scratch.
pub fn areas(values: &[Area<'_>]) -> TokenStream {
    let (names, places): (Vec<_>, Vec<_>) = values.iter().map(|(name, place, _)| (*name, *place)).unzip();
    let parts = parts(&names, &places);
    let bf16 = values.iter().filter(|(_, _, element)| *element == ElementType::Bf16).map(|(name, ..)| {
        let name = format_ident!("{name}");
        quote!(let #name = #name.bf16();)
    });
    quote!(#parts #(#bf16)*)
}
