//! Generated code as formatted text.

mod unrolled;

use proc_macro2::TokenStream;

use crate::error::{Error, Result};

/// Formats items. Remarks of the generator, `note!("...")`, become comments.
///
/// # Errors
/// If the tokens are not items.
pub fn format(items: TokenStream) -> Result<String> {
    let file: syn::File = syn::parse2(unrolled::as_loops(items))
        .map_err(|cause| Error::new(format!("cannot parse the generated code: {cause}")))?;
    Ok(comments(&unrolled::as_macros(&prettyplease::unparse(&file))))
}

/// Turns the lines of `note!("...")` into comments.
fn comments(code: &str) -> String {
    let mut text = String::with_capacity(code.len());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let (start, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if !is_note(start) {
            text += line;
            text.push('\n');
            continue;
        }
        // The formatter breaks the lines of a long text.
        let mut call = start.to_owned();
        while !call.ends_with(");") && !call.ends_with('}') {
            match lines.next() {
                Some(more) => call += more.trim(),
                None => break,
            }
        }
        let literal = call.split_once('!').map_or("", |(_, rest)| rest.trim_matches(['(', ')', '{', '}', ';', ' ']));
        let note = syn::parse_str::<syn::LitStr>(literal).map_or_else(|_| literal.to_owned(), |text| text.value());
        for line in note.lines() {
            text += &format!("{:indent$}// {}\n", "", line.trim());
        }
    }
    text
}

/// `note!(...)`, `rt::note!(...)`, `::mbvc::note!(...)`.
fn is_note(line: &str) -> bool {
    line.split_once("note!").is_some_and(|(path, _)| {
        path.chars().all(|c| c == ':' || c == '_' || c.is_alphanumeric()) && (path.is_empty() || path.ends_with("::"))
    })
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn notes_become_comments() {
        let long =
            "a text that is so long that the formatter has to break the line before it, which it does not always";
        let items = quote! {
            /// Adds.
            fn add(a: f32) -> f32 {
                rt::note!("layer 4: \"expand\"");
                ::mbvc::__runtime::note!(#long);
                let denote = a;
                a + 1.0
            }
        };
        let text = format(items).unwrap();
        assert_eq!(
            text,
            format!(
                "/// Adds.\nfn add(a: f32) -> f32 {{\n    // layer 4: \"expand\"\n    // {long}\n    \
                 let denote = a;\n    a + 1.0\n}}\n"
            )
        );
    }

    #[test]
    fn unrolled_statements_are_formatted_like_loops() {
        let items = quote! {
            fn sums(a: f32) {
                for k in 0..7 {
                    rt::unroll! { P in 0..3 { let x = P; rt::each_lane! { add(&mut x[P], LANE); } } }
                }
                rt::unroll! { P in 0..2 { done(P); } }
            }
        };
        let expected = "fn sums(a: f32) {\n    for k in 0..7 {\n        rt::unroll! { P in 0..3 {\n            let x = P;\n            \
            rt::each_lane! {\n                add(&mut x[P], LANE);\n            }\n        }}\n    }\n    \
            rt::unroll! { P in 0..2 {\n        done(P);\n    }}\n}\n";
        let text = format(items.clone()).unwrap();
        assert_eq!(text, expected);
        let parsed: TokenStream = text.parse().unwrap();
        assert_eq!(parsed.to_string(), items.to_string(), "the same code");
    }

    #[test]
    fn other_tokens_are_an_error() {
        assert!(format(quote!(fn)).is_err());
    }
}
