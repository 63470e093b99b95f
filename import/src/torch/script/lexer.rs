//! Tokens of TorchScript code: a subset of Python, as `torch/csrc/jit/serialization/python_print.cpp` writes it.

use std::fmt;
use std::rc::Rc;

use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Longest text of a literal in bytes.
const MAX_TEXT: usize = 4096;
/// Longest name in bytes.
const MAX_NAME: usize = 256;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Name(String),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Mark(char),
    /// The start of a line outside of brackets, with its indentation.
    Line(usize),
}

impl fmt::Display for Token {
    /// Writes a token as in the code.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(formatter, "`{}`", shorten(name)),
            Self::Int(value) => write!(formatter, "`{value}`"),
            Self::Float(value) => write!(formatter, "`{value:?}`"),
            Self::Text(text) => write!(formatter, "\"{}\"", shorten(text)),
            Self::Mark(mark) => write!(formatter, "`{mark}`"),
            Self::Line(_) => formatter.write_str("the end of the line"),
        }
    }
}

/// Splits the code of a function into tokens.
///
/// # Errors
/// If the code has a character or literal that the printer does not write.
pub fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    for line in text.split('\n') {
        let code = line.trim_start_matches(' ');
        if code.is_empty() || code.starts_with('#') {
            continue;
        }
        if depth == 0 {
            found.push(Token::Line(line.len() - code.len()));
        }
        let mut rest = code;
        while let Some(letter) = rest.chars().next() {
            let (token, length) = match letter {
                ' ' => {
                    rest = &rest[1..];
                    continue;
                }
                '#' => break,
                '"' | '\'' => text_literal(rest, letter)?,
                '0'..='9' => number(rest)?,
                '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => number(rest)?,
                _ if letter.is_alphanumeric() || letter == '_' => {
                    let end = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
                    let name = &rest[..end.unwrap_or(rest.len())];
                    if name.len() > MAX_NAME {
                        return Err(invalid(&format!("a name of more than {MAX_NAME} bytes")));
                    }
                    (Token::Name(name.to_owned()), name.len())
                }
                '(' | '[' | '{' => {
                    depth += 1;
                    (Token::Mark(letter), 1)
                }
                ')' | ']' | '}' => {
                    depth = depth.saturating_sub(1);
                    (Token::Mark(letter), 1)
                }
                ',' | '.' | ':' | '=' | '-' | '>' | '*' => (Token::Mark(letter), 1),
                _ => return Err(invalid(&format!("the character {letter:?}"))),
            };
            found.push(token);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    Ok(found)
}

fn invalid(found: &str) -> Box<ImportError> {
    ImportError::unsupported("unsupported syntax in the code").found(found)
}

/// Returns the value of a number and its length.
fn number(text: &str) -> Result<(Token, usize)> {
    let mut end = 0;
    let mut is_float = false;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(end) {
        match byte {
            b'0'..=b'9' => {}
            b'.' | b'e' => is_float = true,
            b'+' | b'-' if bytes.get(end.wrapping_sub(1)) == Some(&b'e') => {}
            _ => break,
        }
        end += 1;
    }
    let literal = text.get(..end).unwrap_or_default();
    let token = match is_float {
        true => literal.parse().ok().map(Token::Float),
        false => literal.parse().ok().map(Token::Int),
    };
    token.map(|token| (token, end)).ok_or_else(|| invalid("a number that is not decimal"))
}

/// Returns the text of a literal and its length. Escapes are kept, because texts have no effect on the result.
fn text_literal(text: &str, quote: char) -> Result<(Token, usize)> {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => {
                let content = text.get(1..at).unwrap_or_default();
                if content.len() > MAX_TEXT {
                    return Err(invalid(&format!("a text of more than {MAX_TEXT} bytes")));
                }
                return Ok((Token::Text(content.into()), at + 1));
            }
            _ => {}
        }
    }
    Err(invalid("a text without an end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_lines_and_literals() {
        let found = tokens("  x = f(1, 0.5,\n      \"a\\\"b\")\n  return -1e-05\n").unwrap();
        let mark = Token::Mark;
        let name = |text: &str| Token::Name(text.to_owned());
        let expected = [
            Token::Line(2),
            name("x"),
            mark('='),
            name("f"),
            mark('('),
            Token::Int(1),
            mark(','),
            Token::Float(0.5),
            mark(','),
            Token::Text("a\\\"b".into()),
            mark(')'),
            Token::Line(2),
            name("return"),
            mark('-'),
            Token::Float(1e-5),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn rejects_other_text() {
        for text in ["x = $", "x = \"a", "x = 99999999999999999999", "x = 1.2.3", "x = a @ b"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        for text in ["", "\"", "'", ".", "1e", "é = 1", "((((", "]]]]"] {
            let _ = tokens(text);
        }
    }
}
