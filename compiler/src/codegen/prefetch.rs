//! Prefetches of weights, spread over the iterations of a kernel.
//!
//! The hardware prefetcher is too slow for weights that a call of the network reads only once. A burst of prefetches
//! would stall, so each iteration requests a few cache lines, even if several then request the same line.

use proc_macro2::TokenStream;
use quote::quote;

use super::step::Context;
use super::tokens::{affine, lit, plus};
use crate::ir::{NodeId, Op};
use crate::target::IsaFacts;

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

/// Weights of the next layer that all calls of a layer prefetch together, each a share of its size.
#[derive(Debug, Clone, Copy)]
pub struct Next {
    /// Offset in the packed block.
    at: usize,
    /// Elements for each output channel of the layer.
    pub per_channel: usize,
}

impl Next {
    /// Returns the weights that layer `id` prefetches: at most `most` weights of the classifier that reads its output. A
    /// classifier is bound by memory. `packed` returns the offset and the size of its packed weights.
    pub fn after(
        context: &Context<'_>,
        id: NodeId,
        most: usize,
        packed: impl FnOnce(NodeId) -> Option<(usize, usize)>,
    ) -> Option<Self> {
        let [reader] = *context.graph.readers(id) else { return None };
        if !matches!(context.graph.node(reader).op, Op::Dense(_)) || !context.isa.has_prefetch() {
            return None;
        }
        let (at, size) = packed(reader)?;
        // Rounded down: a view must not begin beyond the packed block.
        let per_channel = most.min(size) / context.graph.node(id).tensor.shape.channels;
        (per_channel > 0).then_some(Self { at, per_channel })
    }

    /// Returns the argument of a call that computes the channels from `channel`.
    pub fn argument(self, channel: &TokenStream) -> TokenStream {
        let [at, per_channel] = [self.at, self.per_channel].map(lit);
        quote!(w.at(#at + (#channel) * #per_channel),)
    }
}
