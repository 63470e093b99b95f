//! What a text that is no YAML most likely got wrong: the parsers stop where they notice, often lines later.

use super::locate::Excerpt;
use crate::diagnostic::{Diagnostic, Place, catalogue};

/// A parser's error with the remedy that the text suggests, at the place where the remedy applies.
pub(super) fn syntax(place: Place, message: &str, excerpt: Excerpt<'_>) -> Diagnostic {
    let at = place.start.saturating_sub(excerpt.base).min(excerpt.text.len());
    let before = excerpt.text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = excerpt.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let in_excerpt = |start: usize, length: usize| {
        let start = excerpt.base + start;
        Place { start, end: start + length, ..place }
    };
    let mistake = |message: &str, place: Place, help: &str| {
        Diagnostic::new(&catalogue::SYNTAX, format!("this is not YAML: {message}")).at(place).help(help)
    };
    let indentation = &line[..line.len() - line.trim_start().len()];
    if indentation.contains('\t') {
        return mistake(message, place, "indent with spaces; YAML forbids tabs there");
    }
    // The parser points at the quote itself, but behind an open bracket.
    let quote = excerpt.text[before.len()..].starts_with(['"', '\'']);
    match open_bracket_or_quote(&excerpt.text[..before.len() + usize::from(quote)]) {
        Some((start, quote @ ('"' | '\''))) => {
            return mistake(
                "a quote is opened and not closed",
                in_excerpt(start, 1),
                &format!("close it with {quote}"),
            );
        }
        Some((start, bracket)) => {
            let closing = if bracket == '{' { '}' } else { ']' };
            let help = format!("close it with `{closing}`");
            return mistake("a bracket is opened and not closed", in_excerpt(start, 1), &help);
        }
        None => {}
    }
    if let Some((start, word)) = colon_without_a_space(before) {
        let help = "write `key: value`, with a space behind the colon";
        return mistake("a key needs a colon and a space behind it", in_excerpt(start, word.len()), help);
    }
    let help = if line.contains(['`', '@', '%']) {
        "put quotes around the text"
    } else {
        "check the indentation, the brackets and the `key: value` pairs of this line and the one above"
    };
    mistake(message, place, help)
}

/// The innermost bracket or quote that is open at the end of a text.
fn open_bracket_or_quote(text: &str) -> Option<(usize, char)> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut characters = text.char_indices().peekable();
    let mut previous = '\n';
    while let Some((at, c)) = characters.next() {
        let quoted = open.last().map(|(_, quote)| *quote).filter(|quote| matches!(quote, '"' | '\''));
        match (quoted, c) {
            (Some('"'), '\\') => drop(characters.next()),
            (Some(quote), c) if c == quote => drop(open.pop()),
            (Some(_), _) => {}
            (None, '#') if previous.is_whitespace() => while characters.next_if(|(_, c)| *c != '\n').is_some() {},
            // Inside a word, a quote is an apostrophe.
            (None, '"' | '\'') if !previous.is_alphanumeric() => open.push((at, c)),
            (None, '{' | '[') => open.push((at, c)),
            (None, '}' | ']') => drop(open.pop()),
            (None, _) => {}
        }
        previous = c;
    }
    open.pop()
}

/// The last line with content, if it is a `key:value` without the space that makes it a pair.
fn colon_without_a_space(text: &str) -> Option<(usize, &str)> {
    let mut end = text.len();
    for line in text.rsplit('\n') {
        let start = end - line.len();
        end = start.saturating_sub(1);
        let word = line.trim();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        let (key, value) = word.split_once(':')?;
        let joined = !key.contains(' ') && !value.is_empty() && !value.starts_with(' ');
        return joined.then_some((start + line.len() - line.trim_start().len(), word));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{colon_without_a_space, open_bracket_or_quote};

    #[test]
    fn finds_what_is_open() {
        for (text, open) in [
            ("a: { b: [1, 2], c", Some((3, '{'))),
            ("a: [{}, {", Some((8, '{'))),
            ("a: 'it''s' # don't [\nb: \"x\\\" [", Some((24, '"'))),
            ("a: don't\nb: 1", None),
            ("a: { b: 1 }", None),
            ("]", None),
        ] {
            assert_eq!(open_bracket_or_quote(text), open, "{text}");
        }
    }

    #[test]
    fn finds_the_missing_space() {
        assert_eq!(colon_without_a_space("a: 1\n  b:2 \n# c\n\n"), Some((7, "b:2")));
        assert_eq!(colon_without_a_space("a:1\nb: 2\n"), None);
        assert_eq!(colon_without_a_space("plain"), None);
        assert_eq!(colon_without_a_space(""), None);
    }
}
