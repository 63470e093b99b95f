//! The macro of mbvc; see the crate `mbvc` for what it makes.

#![warn(missing_docs)]

mod call;
mod weights;

use proc_macro::TokenStream;

/// Compiles a network from its spec.
///
/// `mobilenet_v2!([attributes] [visibility] "path", key = value, ...)` defines a type named by the spec (or by
/// `name = ...`). The path is relative to the folder of the calling crate's `Cargo.toml`. Keys take the place of
/// the spec's own: `name`, `width`, `resolution`, `classes`, `precision`, `numerics`, `rounding`, `fusion`, `isa`, `threads`,
/// `batch`, `scratch_budget`; `crate = path` names this crate where it was renamed.
///
/// `weights = "path"` makes a file of weights part of the program, and adds `embedded()`, which needs no other file:
/// `let model = MobileNetV2::embedded()?;`. The file is
///
/// - a container, as `mbvc import` writes it. The first call packs it for the processor at hand; labels, preprocessing and
///   framing come with it. Needs the feature `alloc`.
/// - or a packed file, as `mbvc pack` writes it for one instruction set, which is used in place, without a heap and `std`.
///
/// The path is relative to the folder of the calling crate's `Cargo.toml`, or, where it begins with `$OUT_DIR/`, to the one
/// that its build script writes into. Whether the weights fit the network is seen when the program is compiled, and an edit
/// of the file compiles it anew.
#[proc_macro]
pub fn mobilenet_v2(input: TokenStream) -> TokenStream {
    let call = syn::parse_macro_input!(input as call::Call);
    call.expand().into()
}
