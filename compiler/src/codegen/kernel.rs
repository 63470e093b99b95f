//! A kernel: a generated function whose shapes, strides and trip counts are literals.
//!
//! Kernels are never inlined, so each has all registers, and a profiler shows it by name.

use std::collections::BTreeMap;

use proc_macro2::{Ident, TokenStream};
use quote::format_ident;

/// A generated function.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Unique name, which encodes everything that the code depends on. Kernels with the same name have the same code.
    pub name: String,
    /// The whole item.
    pub item: TokenStream,
}

impl Kernel {
    pub fn ident(&self) -> Ident {
        format_ident!("{}", self.name)
    }
}

/// Kernels of a network by name, one per distinct shape.
pub type Kernels = BTreeMap<String, TokenStream>;
