//! The macro `mobilenet_v2!` of mbvc. The crate `mbvc` documents the code it generates.

#![warn(missing_docs)]

mod call;
mod weights;

use proc_macro::TokenStream;

/// Compiles a network from its spec.
///
/// `mobilenet_v2!([attributes] [visibility] "path", key = value, ...)` defines a type with the name in the spec, or the one
/// in `name = ...`. Attributes and doc comments of the type precede the path, inside the parentheses. The path is relative
/// to the folder of the calling crate's `Cargo.toml`. Keys override those of the spec: `name`, `width`, `resolution`,
/// `classes`, `precision`, `numerics`, `rounding`, `fusion`, `isa`, `threads`, `batch`, `scratch_budget`. `crate = path` is
/// the path of the crate `mbvc` if it was renamed.
///
/// `weights = "path"` embeds a weights file in the program and adds the constructor `embedded`, which reads no other file:
/// `let model = MobileNetV2::embedded()?;`. The file is one of:
///
/// - a weights file that `mbvc import` writes. The first call packs the weights for the processor; labels, preprocessing
///   and framing are part of the file. Requires the feature `alloc`.
/// - a packed file that `mbvc pack` writes for one instruction set. It is used in place, without heap or `std`.
///
/// The path is relative to the folder of the calling crate's `Cargo.toml`, or, with the prefix `$OUT_DIR/`, to the output
/// folder of its build script. The weights are checked against the network at compile time. Editing the file recompiles the
/// crate.
#[proc_macro]
pub fn mobilenet_v2(input: TokenStream) -> TokenStream {
    let call = syn::parse_macro_input!(input as call::Call);
    call.expand().into()
}
