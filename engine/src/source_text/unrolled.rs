//! The formatter does not format the arguments of macros, so `unroll!` and `each_lane!` are replaced by loops before
//! formatting, and restored after it.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};

/// Names that generated code does not use.
const UNROLL: &str = "__unroll";
const EACH_LANE: &str = "__each_lane";

/// Converts `rt::unroll! { P in 0..4 { .. } }` to `for P in __unroll(0..4) { .. }`, and `rt::each_lane! { .. }`
/// similarly.
pub fn as_loops(items: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = items.into_iter().collect();
    let mut shown = TokenStream::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(statement) = tokens.get(at..at + CALL).and_then(as_loop) {
            shown.extend(statement);
            at += CALL;
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), as_loops(group.stream()));
                inner.set_span(group.span());
                inner.to_tokens(&mut shown);
            }
            token => token.to_tokens(&mut shown),
        }
        at += 1;
    }
    shown
}

/// Tokens of `rt::unroll! { .. }`.
const CALL: usize = 6;

fn as_loop(call: &[TokenTree]) -> Option<TokenStream> {
    let [TokenTree::Ident(path), _, _, TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Group(body)] = call
    else {
        return None;
    };
    if path != "rt" {
        return None;
    }
    let call = |name| Ident::new(name, path.span());
    if name == "each_lane" {
        let (call, body) = (call(EACH_LANE), as_loops(body.stream()));
        return Some(quote!(for LANE in #call() { #body }));
    }
    let body: Vec<TokenTree> = body.stream().into_iter().collect();
    match &*body {
        [index, _, range @ .., TokenTree::Group(body)] if name == "unroll" => {
            let (call, body) = (call(UNROLL), as_loops(body.stream()));
            Some(quote!(for #index in #call(#(#range)*) { #body }))
        }
        _ => None,
    }
}

/// Replaces the formatted loops of [`as_loops`] by the macro calls.
pub fn as_macros(code: &str) -> String {
    let mut text = String::with_capacity(code.len());
    // Closing lines of the open loops and their replacements, innermost last.
    let mut open: Vec<(String, &str)> = Vec::new();
    for line in code.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some((closing, instead)) = open.last()
            && line == closing
        {
            text += &format!("{indent}{instead}\n");
            open.pop();
        } else if let Some((index, range)) = opened(line.trim_start(), UNROLL) {
            text += &format!("{indent}rt::unroll! {{ {index} in {range} {{\n");
            open.push((format!("{indent}}}"), "}}"));
        } else if opened(line.trim_start(), EACH_LANE).is_some() {
            text += &format!("{indent}rt::each_lane! {{\n");
            open.push((format!("{indent}}}"), "}"));
        } else {
            text += line;
            text.push('\n');
        }
    }
    text
}

/// Index and range of `for P in call(0..4) {`.
fn opened<'a>(line: &'a str, call: &str) -> Option<(&'a str, &'a str)> {
    let (index, rest) = line.strip_prefix("for ")?.split_once(" in ")?;
    let range = rest.strip_prefix(call)?.strip_prefix('(')?.strip_suffix(") {")?;
    Some((index, range))
}
