//! Prefetches of weights, spread over the iterations of a kernel.
//!
//! The hardware prefetcher is too slow for weights that a call of the network reads only once. A burst of prefetches
//! would stall, so each iteration requests a few cache lines, even if several then request the same line.

use proc_macro2::TokenStream;
use quote::quote;

use super::tokens::{affine, plus};

/// Elements that the iterations of a kernel prefetch together.
pub struct Spread {
    /// Offset of the first element in the view, and the number of elements.
    pub from: usize,
    pub size: usize,
    /// Elements of a cache line.
    pub line: usize,
    /// Iterations of all loops of the kernel.
    pub iterations: usize,
}

impl Spread {
    /// Returns the prefetches of one iteration in the view `weights`. The iteration's number is `first`, plus
    /// `index * step` for each loop `(index, step, count)`.
    pub fn share(&self, weights: &TokenStream, first: usize, loops: &[(&str, usize, usize)]) -> TokenStream {
        let lead = self.size.div_ceil(self.iterations.max(1));
        let terms: Vec<_> = loops.iter().map(|(index, step, count)| (*index, step * lead, *count)).collect();
        let at = affine(self.from + first * lead, &terms);
        let lines = (0..lead).step_by(self.line).map(|line| plus(&at, line));
        quote!(#(prefetch(#weights, #lines);)*)
    }
}
