//! Prefetches of the panel after a panel, and of the next layer's weights.

use proc_macro2::TokenStream;
use quote::quote;

use crate::codegen::prefetch::Spread;
use crate::target::{Isa, IsaFacts};

/// What a call prefetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ahead {
    /// Bytes of the weights that follow the panel in the packed block: the size of the panel, or 0.
    pub panel: usize,
    /// Bytes of the next layer's weights.
    pub next: usize,
}

impl Ahead {
    /// Returns the weights that follow a panel of `bytes` bytes, if the instruction set can prefetch. None follow for 0.
    pub fn of_panel(isa: Isa, bytes: usize) -> Self {
        Self { panel: if isa.has_prefetch() { bytes } else { 0 }, next: 0 }
    }

    /// Returns the suffix of a kernel's name.
    pub fn name(self) -> String {
        let panel = if self.panel > 0 { "_ahead" } else { "" };
        if self.next > 0 { format!("{panel}_next{}", self.next) } else { panel.to_owned() }
    }

    /// Returns the parameter for the next layer's weights.
    pub fn parameter(self) -> Option<TokenStream> {
        (self.next > 0).then(|| quote!(next: Src<'_>,))
    }

    /// Returns the share of one of `iterations` iterations, whose number is `first` plus `index * step` for each loop.
    pub fn share(self, iterations: usize, first: usize, loops: &[(&str, usize, usize)]) -> TokenStream {
        const LINE: usize = 64;
        let Self { panel, next } = self;
        let panel = Spread { from: panel, size: panel, line: LINE, iterations }.share(&quote!(w), first, loops);
        let next = Spread { from: 0, size: next, line: LINE, iterations }.share(&quote!(next), first, loops);
        quote!(#panel #next)
    }
}
