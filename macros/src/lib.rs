//! The macro of mbvc; see the crate `mbvc` for what it makes.

mod call;

use proc_macro::TokenStream;

/// Compiles a network from its spec.
///
/// `mobilenet_v2!([attributes] [visibility] "path", key = value, ...)` defines a type named by the spec (or by
/// `name = ...`). The path is relative to the folder of the calling crate's `Cargo.toml`. Keys take the place of
/// the spec's own: `name`, `width`, `resolution`, `classes`, `fusion`, `isa`, `numerics`, `precision`, `threads`, `batch`;
/// `crate = path` names this crate where it was renamed.
#[proc_macro]
pub fn mobilenet_v2(input: TokenStream) -> TokenStream {
    let call = syn::parse_macro_input!(input as call::Call);
    call.expand().into()
}
