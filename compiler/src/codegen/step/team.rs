//! Work sharing in a step. A single thread runs plain loops over everything. A team runs the same code over each
//! thread's share, with a barrier before one thread reads what another wrote.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::codegen::tokens::lit;
use crate::ir::Place;
use crate::schedule::team;

/// Maximum number of threads in the team that runs the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Team(pub usize);

impl Team {
    pub const ONE: Self = Self(1);

    pub fn are_many(self) -> bool {
        self.0 > 1
    }

    /// Returns `tokens` if the team has more than one thread.
    pub fn many(self, tokens: TokenStream) -> TokenStream {
        if self.are_many() { tokens } else { quote!() }
    }

    /// Returns the range of a loop over `count` items.
    pub fn share(self, count: usize) -> TokenStream {
        let count = lit(count);
        if self.are_many() { quote!(team.share(#count)) } else { quote!(0..#count) }
    }

    /// Returns statements that only one thread runs.
    pub fn once(self, statements: TokenStream) -> TokenStream {
        if self.are_many() { quote!(if team.index() == 0 { #statements }) } else { statements }
    }

    /// Returns a barrier.
    pub fn wait(self) -> TokenStream {
        self.many(quote!(team.wait();))
    }

    /// Returns calls for consecutive parts of `total` items. `part` takes a function that returns the first item,
    /// multiplied by its argument, and the number of items.
    pub fn parts(
        self,
        total: usize,
        mut part: impl FnMut(&dyn Fn(usize) -> TokenStream, usize) -> TokenStream,
    ) -> TokenStream {
        if !self.are_many() {
            return part(&|_| quote!(0), total);
        }
        let first = |units: usize| {
            let units = lit(units);
            quote!(first * #units)
        };
        let sizes = team::parts(total, self.0);
        let range = self.share(sizes.iter().map(|(_, count)| count).sum());
        let body = by_size(&sizes, |size| part(&first, size));
        quote!(for part in #range { #body })
    }
}

/// Returns the code of part `part`. `sizes` are the parts' `(size, count)`s. The part begins with item `first`.
pub fn by_size(sizes: &[(usize, usize)], mut body: impl FnMut(usize) -> TokenStream) -> TokenStream {
    match *sizes {
        [(size, _)] => {
            let (size_lit, body) = (lit(size), body(size));
            quote!(let first = part * #size_lit; #body)
        }
        [(large, count), (small, _)] => {
            let (many, few) = (body(large), body(small));
            let [begun, count, large, small] = [large * count, count, large, small].map(lit);
            quote! {
                if part < #count {
                    let first = part * #large;
                    #many
                } else {
                    let first = #begun + (part - #count) * #small;
                    #few
                }
            }
        }
        _ => quote!(),
    }
}

/// Returns [`parts_of`] for a scratch of floats.
pub fn parts(names: &[&str], places: &[Place]) -> TokenStream {
    parts_of(names, places, size_of::<f32>())
}

/// Returns `let [names] = parts(scratch, [ranges])`, in elements of `element` bytes. Values with one copy per thread
/// are in the thread's own arena.
pub fn parts_of(names: &[&str], places: &[Place], element: usize) -> TokenStream {
    let (private, shared): (Vec<_>, Vec<_>) = names.iter().zip(places).partition(|(_, place)| place.arenas.is_some());
    let shared = bind(&quote!(scratch), &shared, 0, element);
    let Some(arenas) = places.iter().find_map(|place| place.arenas) else { return shared };
    let [from, to, size] =
        [arenas.offset, arenas.offset + arenas.count * arenas.bytes, arenas.bytes].map(|b| lit(b / element));
    let private = bind(&quote!(arena), &private, arenas.offset, element);
    quote! {
        #shared
        let arena = team.arena(scratch.part(#from..#to), #size);
        #private
    }
}

/// Binds names to parts of `area`, which begins at byte `start`.
fn bind(area: &TokenStream, parts: &[(&&str, &Place)], start: usize, element: usize) -> TokenStream {
    if parts.is_empty() {
        return quote!();
    }
    let names = parts.iter().map(|(name, _)| format_ident!("{name}"));
    let ranges = parts.iter().map(|(_, place)| {
        let [from, to] = [place.offset - start, place.offset - start + place.bytes].map(|bytes| lit(bytes / element));
        quote!(#from..#to)
    });
    quote!(let [#(#names),*] = rt::parts(#area, [#(#ranges),*]);)
}
