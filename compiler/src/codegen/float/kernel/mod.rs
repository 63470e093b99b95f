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
use crate::ir::{Activation, ElementType, Epilogue};

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

/// Returns the prefix of the names of kernels for the types of the values that they read and write.
fn prefix(elements: [ElementType; 2]) -> &'static str {
    match elements {
        [ElementType::Bf16, ElementType::Bf16] => "bf16",
        [ElementType::Bf16, _] => "bf16f32",
        [_, ElementType::Bf16] => "f32bf16",
        _ => "f32",
    }
}

/// Returns the type of a view for reading values of a type.
fn src(element: ElementType) -> TokenStream {
    if element == ElementType::Bf16 { quote!(rt::Src<'_, rt::Bf16>) } else { quote!(Src<'_>) }
}

/// Returns the type of a view for writing values of a type.
fn dst(element: ElementType) -> TokenStream {
    if element == ElementType::Bf16 { quote!(rt::Dst<'_, rt::Bf16>) } else { quote!(Dst<'_>) }
}

/// Vectors of values of one type in memory, which are computed in float32.
#[derive(Clone, Copy)]
struct Vectors {
    lanes: usize,
    element: ElementType,
}

impl Vectors {
    /// Loads a vector with `channels` valid lanes.
    fn load(self, from: TokenStream, at: TokenStream, channels: usize) -> TokenStream {
        let (n, whole) = (lit(channels), channels >= self.lanes);
        match (self.element, whole) {
            (ElementType::Bf16, true) => quote!(load_bf16(#from, #at)),
            (ElementType::Bf16, false) => quote!(load_bf16_first::<#n>(#from, #at)),
            (_, true) => quote!(load(#from, #at)),
            (_, false) => quote!(load_first::<#n>(#from, #at)),
        }
    }

    /// Stores a vector with `channels` valid lanes.
    fn store(self, to: TokenStream, at: TokenStream, value: TokenStream, channels: usize) -> TokenStream {
        let (n, whole) = (lit(channels), channels >= self.lanes);
        match (self.element, whole) {
            (ElementType::Bf16, true) => quote!(store_bf16(#to, #at, #value);),
            (ElementType::Bf16, false) => quote!(store_bf16_first::<#n>(#to, #at, #value);),
            (_, true) => quote!(store(#to, #at, #value);),
            (_, false) => quote!(store_first::<#n>(#to, #at, #value);),
        }
    }
}
