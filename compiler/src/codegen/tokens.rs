//! Small pieces of generated code that templates share: literals, index arithmetic, loops.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

/// Returns an unsuffixed literal.
pub fn lit(value: usize) -> Literal {
    Literal::usize_unsuffixed(value)
}

/// Returns the identifiers `prefix0`, `prefix1`, ...
pub fn idents(prefix: &str, count: usize) -> Vec<Ident> {
    (0..count).map(|at| format_ident!("{prefix}{at}")).collect()
}

/// Returns `first + index * step` for each term, without zero terms.
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

/// Returns `for index in 0..count { body }`, or the body alone if it runs once.
pub fn repeat(index: &str, count: usize, body: TokenStream) -> TokenStream {
    let (index, count_lit) = (format_ident!("{index}"), lit(count));
    match count {
        1 => body,
        _ => quote!(for #index in 0..#count_lit { #body }),
    }
}

/// Returns the sum of `terms`, without those that are zero or empty.
pub fn sum(terms: &[TokenStream]) -> TokenStream {
    let terms: Vec<_> = terms.iter().filter(|term| !matches!(&*term.to_string(), "" | "0")).collect();
    if terms.is_empty() { quote!(0) } else { quote!(#(#terms)+*) }
}

/// Returns `value + more`, without a zero term.
pub fn plus(value: &TokenStream, more: usize) -> TokenStream {
    let literal = lit(more);
    if more == 0 { value.clone() } else { quote!(#value + #literal) }
}

/// Repeats the statements `count` times. `P` is replaced by 0, 1, ...: constants, so that arrays stay in registers.
pub fn unroll(count: usize, statements: TokenStream) -> TokenStream {
    let count = lit(count);
    quote!(rt::unroll! { P in 0..#count { #statements } })
}

/// Returns `index * step`, without a factor of 1. Returns `None` for a step of 0.
fn times(index: TokenStream, step: usize) -> Option<TokenStream> {
    let literal = lit(step);
    match step {
        0 => None,
        1 => Some(index),
        _ => Some(quote!(#index * #literal)),
    }
}

/// Returns the offset of unrolled pixel `P` in a tile of `[rows, cols]` pixels. `down` is the stride from one row to
/// the next, and `across` from one pixel to the next.
pub fn pixel_offset([rows, cols]: [usize; 2], down: usize, across: usize) -> TokenStream {
    let cols_lit = lit(cols);
    let (row, col) = match (rows, cols) {
        (1, _) => (None, times(quote!(P), across)),
        (_, 1) => (times(quote!(P), down), None),
        _ => (times(quote!(P / #cols_lit), down), times(quote!(P % #cols_lit), across)),
    };
    sum(&[row.unwrap_or_default(), col.unwrap_or_default()])
}
