//! Loop nests over floats, one per file.

mod depthwise;
mod dots;
mod elementwise;
mod gemm;
mod pool;

pub use depthwise::Depthwise;
pub use dots::Dots;
pub use elementwise::Elementwise;
pub use gemm::Gemm;
pub use pool::Pool;

use proc_macro2::TokenStream;
use quote::quote;

use crate::codegen::tokens::lit;
use crate::ir::{Activation, Epilogue};
use crate::target::{Isa, IsaFacts};

/// Returns the suffix of a kernel's name for its epilogue.
fn epilogue_name(epilogue: Epilogue) -> String {
    let pool = if epilogue.pool.is_some() { "_pool" } else { "" };
    let name = match (epilogue.activation, epilogue.residual) {
        (None, false) => "",
        (Some(Activation::Relu), false) => "_relu",
        (Some(Activation::Relu6), false) => "_relu6",
        (None, true) => "_add",
        (Some(Activation::Relu), true) => "_relu_add",
        (Some(Activation::Relu6), true) => "_relu6_add",
    };
    format!("{name}{pool}")
}

/// Returns `sum` after the activation.
fn activate(activation: Option<Activation>, sum: TokenStream) -> TokenStream {
    match activation {
        None => sum,
        Some(Activation::Relu) => quote!(relu(#sum)),
        Some(Activation::Relu6) => quote!(relu6(#sum)),
    }
}

/// Loads a vector with `channels` valid lanes.
fn load(isa: Isa, from: TokenStream, at: TokenStream, channels: usize) -> TokenStream {
    let n = lit(channels);
    if channels < isa.lanes() { quote!(load_first::<#n>(#from, #at)) } else { quote!(load(#from, #at)) }
}

/// Stores a vector with `channels` valid lanes.
fn store(isa: Isa, to: TokenStream, at: TokenStream, value: TokenStream, channels: usize) -> TokenStream {
    let n = lit(channels);
    if channels < isa.lanes() { quote!(store_first::<#n>(#to, #at, #value);) } else { quote!(store(#to, #at, #value);) }
}
