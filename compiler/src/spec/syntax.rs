//! Likely causes of invalid YAML. The parsers report where they stop, which is often lines after the cause.

use std::ops::Range;

use super::excerpt::Excerpt;
use super::excerpt::shortened;
use crate::diagnostic::{Diagnostic, Place, catalog};

pub(super) const COLON_MISSING: &str = "expected `: ` after a key";

/// A key and a value without `: ` between them.
#[derive(Debug, PartialEq)]
pub(super) struct Joined<'a> {
    pub key: &'a str,
    value: &'a str,
}

/// Splits a text such as `t:6`, `t=6`, `t 6` or `t {`.
pub(super) fn joined(text: &str) -> Option<Joined<'_>> {
    let (key, rest) = text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?);
    let value = rest.trim_start_matches([':', '=', ' ']);
    let pair = Joined { key, value };
    let is_parted = (value.len() < rest.len() || pair.is_opened()) && !rest.starts_with(": ");
    (key.starts_with(|c: char| c.is_ascii_alphabetic()) && is_parted && !value.is_empty()).then_some(pair)
}

impl Joined<'_> {
    /// Whether the value begins with a bracket; the text may end before the closing one.
    pub fn is_opened(&self) -> bool {
        self.value.starts_with(['{', '['])
    }

    pub fn remedy(&self) -> String {
        let value = match self.value.chars().next() {
            Some('{') => "{ ... }".to_owned(),
            Some('[') => "[ ... ]".to_owned(),
            _ => shortened(self.value),
        };
        format!("write `{}: {value}`, with a space after the colon", self.key)
    }
}

/// Converts a parser's error to the likely cause, its place and its remedy.
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
        Diagnostic::new(&catalog::SYNTAX, format!("invalid YAML: {message}")).at(place).help(help)
    };
    let indentation = &line[..line.len() - line.trim_start().len()];
    if indentation.contains('\t') {
        return mistake(message, place, "indent with spaces; YAML forbids tabs there");
    }
    // The parser points at an open quote itself, but after an open bracket.
    let quote = excerpt.text[before.len()..].starts_with(['"', '\'']);
    match open_bracket_or_quote(&excerpt.text[..before.len() + usize::from(quote)]) {
        Some((start, quote @ ('"' | '\''))) => {
            return mistake("unclosed quote", in_excerpt(start, 1), &format!("close it with {quote}"));
        }
        Some((start, bracket)) => match closed(excerpt.text, start) {
            None => {
                let closing = if bracket == '{' { '}' } else { ']' };
                let help = format!("close it with `{closing}`");
                return mistake("unclosed bracket", in_excerpt(start, 1), &help);
            }
            Some(Some(key)) => {
                let word = &excerpt.text[key.start..key.end];
                let place = in_excerpt(key.start, word.len());
                return mistake("missing comma between two keys", place, &format!("write a comma before `{word}`"));
            }
            Some(None) => {
                let entry = before.rfind([',', '{', '[']).map_or(0, |at| at + 1);
                let entry = excerpt.text[entry..].trim_start();
                if let Some(pair) = joined(entry).filter(Joined::is_opened) {
                    let place = in_excerpt(excerpt.text.len() - entry.len(), pair.key.len());
                    return mistake(COLON_MISSING, place, &pair.remedy());
                }
            }
        },
        None => {}
    }
    if let Some((start, word, pair)) = line_without_a_colon(excerpt.text, before) {
        return mistake(COLON_MISSING, in_excerpt(start, word.len()), &pair.remedy());
    }
    let help = if line.contains(['`', '@', '%']) {
        "quote the text"
    } else {
        "check the indentation, the brackets and the `key: value` pairs of this line and the previous one"
    };
    mistake(message, place, help)
}

/// The innermost open bracket or quote at the end of a text.
fn open_bracket_or_quote(text: &str) -> Option<(usize, char)> {
    scan(text, |_, _, _| true).pop()
}

/// Finds the end of the bracket at `start`, and in it a second key without a comma before it.
fn closed(text: &str, start: usize) -> Option<Option<Range<usize>>> {
    let inside = text.get(start..)?;
    let (mut is_closed, mut second) = (false, None);
    // After the colon of the current pair.
    let mut value: Option<usize> = None;
    scan(inside, |at, c, depth| {
        is_closed = depth == 0;
        match (c, value) {
            (',', _) if depth == 1 => value = None,
            (':', None) if depth == 1 => value = Some(at + 1),
            (':', Some(value)) if depth == 1 && second.is_none() => {
                let before = inside[value..at].trim_end();
                let word = before.rfind([' ', '\t', '\r', '\n', ']', '}']).map_or(0, |blank| blank + 1);
                let is_pair = inside[at + 1..].starts_with(char::is_whitespace) && !before[..word].trim().is_empty();
                second = is_pair.then_some(start + value + word..start + value + before.len());
            }
            _ => {}
        }
        !is_closed
    });
    is_closed.then_some(second)
}

/// Visits each character outside of quotes and comments, with the number of open brackets after it, until `visit` returns
/// `false`. Returns the open brackets and quotes.
fn scan(text: &str, mut visit: impl FnMut(usize, char, usize) -> bool) -> Vec<(usize, char)> {
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
            // A quote inside a word is an apostrophe.
            (None, '"' | '\'') if !previous.is_alphanumeric() => open.push((at, c)),
            (None, '{' | '[') => open.push((at, c)),
            (None, '}' | ']') => drop(open.pop()),
            (None, _) => {}
        }
        if quoted.is_none() && !visit(at, c, open.len()) {
            break;
        }
        previous = c;
    }
    open
}

/// The last complete line with content in `before`, or one with an open bracket, if it is a key and a value without `: `
/// between them.
fn line_without_a_colon<'a>(text: &'a str, before: &str) -> Option<(usize, &'a str, Joined<'a>)> {
    let mut end = before.len();
    for line in before.rsplit('\n') {
        let start = end - line.len();
        let is_last = end == before.len();
        end = start.saturating_sub(1);
        // The parser has read only a part of the last line, often the key.
        let whole = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let word = whole.split(" #").next().unwrap_or_default().trim();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        let pair = joined(word).filter(|pair| pair.is_opened() || !(word.contains(": ") || word.ends_with(':')));
        match pair {
            Some(pair) => return Some((start + whole.len() - whole.trim_start().len(), word, pair)),
            None if is_last => {}
            None => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{closed, joined, line_without_a_colon, open_bracket_or_quote};

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
    fn finds_the_missing_comma() {
        for (text, found) in [
            ("{ t: 6 c: 64, n: 4 }", Some(Some("c"))),
            ("{ t: 6, c: 64 n: 4 s: 1 }", Some(Some("n"))),
            ("{ range: [-1, 1]mean: { a: 1 } }", Some(Some("mean"))),
            ("{ t: 6 # six\n  c: 64 }", Some(Some("c"))),
            ("{ t: 6, c: 64: 3 }", Some(None)),
            ("{ t: '6 c: 5', c: 64 }", Some(None)),
            ("{ t: 6 c: 64", None),
            ("{ t: 6 c: 64\n- { t: 1 }", None),
        ] {
            assert_eq!(closed(text, 0).map(|key| key.map(|key| &text[key])), found, "{text}");
        }
    }

    #[test]
    fn finds_the_missing_space() {
        let found = |text| line_without_a_colon(text, text).map(|(start, line, _)| (start, line));
        assert_eq!(found("a: 1\n  b:2 # two\n# c\n\n"), Some((7, "b:2")));
        assert_eq!(found("a 1\nb"), Some((0, "a 1")));
        assert_eq!(found("a { b: 1 }"), Some((0, "a { b: 1 }")));
        for text in ["a:1\nb: 2\n", "plain", "", "a: 1\nb", "- a b\nc"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn joined_pairs_have_no_colon_and_space() {
        for text in ["t:6", "t=6", "t = 6", "t 6", "t : 6"] {
            let pair = joined(text).unwrap();
            assert_eq!((pair.key, pair.value), ("t", "6"), "{text}");
        }
        assert_eq!(joined("head{ a: 1").unwrap().remedy(), "write `head: { ... }`, with a space after the colon");
        for text in ["", "t", "t:", "t: 6", "t: { a", "6", "6 t", "a-b", "{ a", "é 1"] {
            assert_eq!(joined(text), None, "{text}");
        }
    }
}
