//! Generated tokens as text that people read.

use proc_macro2::TokenStream;

/// Formats items; remarks of the generator, `note!("...")`, become comments.
///
/// # Errors
/// If the tokens are no items.
pub fn format(items: TokenStream) -> Result<String, String> {
    let file: syn::File = syn::parse2(items).map_err(|cause| format!("the generated code does not parse: {cause}"))?;
    Ok(comments(&prettyplease::unparse(&file)))
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
        // A long text stands on lines of its own.
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
    fn what_does_not_parse_is_told() {
        assert!(format(quote!(fn)).is_err());
    }
}
