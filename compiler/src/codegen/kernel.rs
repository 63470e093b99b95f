//! A kernel: a generated function whose shapes, strides and trip counts are literals.
//!
//! Kernels are never inlined: each has the register file to itself, and a profiler shows it by name.

use std::collections::BTreeMap;

use proc_macro2::{Ident, TokenStream};
use quote::format_ident;

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
