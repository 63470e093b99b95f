//! Loop nests, one a file. A kernel is a function whose shapes, strides and trip counts are literals.
//!
//! Kernels are never inlined: each has the register file to itself, and a profiler shows it by name.

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

use std::collections::BTreeMap;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::isa::Isa;
use crate::ir::{Activation, Epilogue};

/// A generated function.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Says everything that the code depends on: the same name is the same code.
    pub name: String,
    /// The whole item.
    pub item: TokenStream,
}

impl Kernel {
    pub fn ident(&self) -> Ident {
        format_ident!("{}", self.name)
    }
}

/// The kernels of a network, one per distinct shape.
pub type Kernels = BTreeMap<String, TokenStream>;

/// An unsuffixed literal, as a person would write it.
pub fn lit(value: usize) -> Literal {
    Literal::usize_unsuffixed(value)
}

/// Identifiers `prefix0`, `prefix1`, ...
fn idents(prefix: &str, count: usize) -> Vec<Ident> {
    (0..count).map(|at| format_ident!("{prefix}{at}")).collect()
}

/// `first + index * step`, without what is zero.
pub fn affine(first: usize, terms: &[(&str, usize, usize)]) -> TokenStream {
    let mut sum = (first > 0).then(|| lit(first)).map(|first| quote!(#first));
    for (index, step, count) in terms {
        if *count > 1 && *step > 0 {
            let (index, step) = (format_ident!("{index}"), lit(*step));
            sum = Some(match sum {
                None => quote!(#index * #step),
                Some(sum) => quote!(#sum + #index * #step),
            });
        }
    }
    sum.unwrap_or_else(|| quote!(0))
}

/// `for index in 0..count { body }`; the body alone if it runs once.
pub fn repeat(index: &str, count: usize, body: TokenStream) -> TokenStream {
    let (index, count_lit) = (format_ident!("{index}"), lit(count));
    match count {
        1 => body,
        _ => quote!(for #index in 0..#count_lit { #body }),
    }
}

/// The sum of `terms`, without those that are zero or nothing.
pub fn sum(terms: &[TokenStream]) -> TokenStream {
    let terms: Vec<_> = terms.iter().filter(|term| !matches!(&*term.to_string(), "" | "0")).collect();
    if terms.is_empty() { quote!(0) } else { quote!(#(#terms)+*) }
}

/// `value + more`, without what is zero.
fn plus(value: &TokenStream, more: usize) -> TokenStream {
    let literal = lit(more);
    if more == 0 { value.clone() } else { quote!(#value + #literal) }
}

/// The statements `count` times, with `P` standing for 0, 1, ...: constants, so that arrays are registers.
pub fn unroll(count: usize, statements: TokenStream) -> TokenStream {
    let count = lit(count);
    quote!(rt::unroll! { P in 0..#count { #statements } })
}

/// The suffix of a kernel's name that tells its epilogue.
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

/// `sum` after the activation.
fn activate(activation: Option<Activation>, sum: TokenStream) -> TokenStream {
    match activation {
        None => sum,
        Some(Activation::Relu) => quote!(relu(#sum)),
        Some(Activation::Relu6) => quote!(relu6(#sum)),
    }
}

/// Loads a vector of which `channels` lanes exist.
fn load(isa: Isa, from: TokenStream, at: TokenStream, channels: usize) -> TokenStream {
    let n = lit(channels);
    if channels < isa.lanes() { quote!(load_first::<#n>(#from, #at)) } else { quote!(load(#from, #at)) }
}

/// Stores a vector of which `channels` lanes exist.
fn store(isa: Isa, to: TokenStream, at: TokenStream, value: TokenStream, channels: usize) -> TokenStream {
    let n = lit(channels);
    if channels < isa.lanes() { quote!(store_first::<#n>(#to, #at, #value);) } else { quote!(store(#to, #at, #value);) }
}
