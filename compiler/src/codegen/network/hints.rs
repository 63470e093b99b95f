//! Items that make rustc's messages about a misused network name the network and the remedy.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use crate::codegen::Naming;

/// Returns the name of the type in the scope of the macro call, and a hint for a second network of that name.
///
/// A public network is re-exported, which documents its type. Any other network gets a type alias: rustc reports an unused
/// alias by its name, an unused import by the string literal of the spec path. All tokens have the span of the path, because
/// rustc does not report unused items whose span is a macro call.
pub fn definition(naming: &Naming, module: &Ident) -> TokenStream {
    let Naming { name, attributes, visibility, .. } = naming;
    let hint =
        format_ident!("two_networks_are_named_{name}__write__name_equals_Other__in_one_call", span = name.span());
    let definition = match visibility.to_string().as_str() {
        "pub" => quote_spanned!(name.span()=> #[doc(inline)] #visibility use #module::#name;),
        _ => quote_spanned!(name.span()=> #visibility type #name = #module::#name;),
    };
    quote_spanned! {name.span()=>
        #[doc(hidden)]
        #[allow(dead_code, non_upper_case_globals)]
        const #hint: () = ();

        #attributes
        #definition
    }
}

/// Returns the method `embedded` of a network without embedded weights. No call can satisfy its bound.
pub fn without_weights(network: &Ident) -> TokenStream {
    let message = format!("`{network}` has no embedded weights");
    let note = format!(
        "write `mobilenet_v2!(\"SPEC.yaml\", weights = \"model.safetensors\")` to embed weights, \
         or open a file: `{network}::new(&mbvc::Weights::open(\"model.safetensors\")?)`"
    );
    quote! {
        #[diagnostic::on_unimplemented(message = #message, label = "compiled without `weights = ...`", note = #note)]
        pub trait EmbeddedWeights {}

        rt::with_alloc! {
            impl #network {
                // The lifetime defers the check of the bound from this definition to a call.
                #[doc(hidden)]
                pub fn embedded() -> ::core::result::Result<Self, rt::ModelError>
                where
                    for<'call> Self: EmbeddedWeights,
                {
                    ::core::unreachable!()
                }
            }
        }
    }
}
