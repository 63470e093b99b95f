//! Loops over the row quads of a phase.

use std::cmp::Ordering;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::codegen::step::Team;
use crate::codegen::tokens::lit;
use crate::schedule::phases::Phase;

/// Loop over a phase. Its variable is `quad`.
pub trait PhaseLoop {
    /// Returns the loop over all quads of the phase, or over this thread's quads.
    fn repeat(&self, team: Team, statements: TokenStream) -> TokenStream;

    /// Returns the loop over the phase's quads in the range named `range`.
    fn repeat_of(&self, range: &str, statements: TokenStream) -> TokenStream;

    /// Returns an expression that is `at_first` for the first quad and grows by `step` per quad.
    fn linear(&self, step: usize, at_first: usize) -> TokenStream;
}

impl PhaseLoop for Phase {
    fn repeat(&self, team: Team, statements: TokenStream) -> TokenStream {
        let (first, end) = (lit(self.first), lit(self.first + self.count));
        match self.count {
            _ if team.are_many() => self.repeat_of("mine", statements),
            1 => quote!({ #statements }),
            _ => quote!(for quad in #first..#end { #statements }),
        }
    }

    fn repeat_of(&self, range: &str, statements: TokenStream) -> TokenStream {
        let (range, first, end) = (format_ident!("{range}"), lit(self.first), lit(self.first + self.count));
        quote!(for quad in rt::clip(&#range, #first, #end) { #statements })
    }

    fn linear(&self, step: usize, at_first: usize) -> TokenStream {
        let (step_lit, before) = (lit(step), step * self.first);
        let (more, less) = (lit(at_first.saturating_sub(before)), lit(before.saturating_sub(at_first)));
        match at_first.cmp(&before) {
            _ if self.count == 1 => {
                let value = lit(at_first);
                quote!(#value)
            }
            Ordering::Equal => quote!(quad * #step_lit),
            Ordering::Greater => quote!(quad * #step_lit + #more),
            Ordering::Less => quote!(quad * #step_lit - #less),
        }
    }
}
