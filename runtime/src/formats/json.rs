//! A JSON parser for safetensors headers, which reads in place.
//!
//! It is hand-written because this crate has no dependencies: a microcontroller links all of it, and every generated
//! standalone crate copies it. It allocates nothing, never recurses (deeply nested input cannot overflow a small
//! stack) and never panics. Grammar: RFC 8259. Strings are checked to be UTF-8 without lone surrogates.

use core::fmt;

/// A position in JSON text, with methods that read the values there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

/// State of an array or object that [`Cursor::open`] entered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside {
    close: u8,
    first: bool,
}

/// An error in JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonError {
    /// Byte offset in the text.
    pub at: usize,
    pub rule: JsonRule,
}

/// Rule that JSON text violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonRule {
    /// The text ends within a value.
    Ends,
    /// This character was expected.
    Expected(char),
    /// A string has a raw control character or an unknown escape here.
    BadString,
    /// A string is not UTF-8, or has a lone surrogate.
    NotUtf8,
    /// Only an unsigned integer within the address range is valid here.
    NotUnsigned,
}

impl fmt::Display for JsonRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends => f.write_str("the text ends within a value"),
            Self::Expected(c) => write!(f, "expected `{c}`"),
            Self::BadString => f.write_str("a control character or an unknown escape in a string"),
            Self::NotUtf8 => f.write_str("a string that is not UTF-8"),
            Self::NotUnsigned => f.write_str("expected a whole number that fits this machine's addresses"),
        }
    }
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Continues at a byte offset that an earlier pass over the same text recorded.
    pub fn starting(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns the next character that is not white space, without consuming it.
    pub fn peek(&mut self) -> Result<u8, JsonError> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(byte);
            }
            self.at += 1;
        }
        self.fail(JsonRule::Ends)
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek()? != byte {
            return self.fail(JsonRule::Expected(char::from(byte)));
        }
        self.at += 1;
        Ok(())
    }

    /// Checks that only white space follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Ok(_) => self.fail(JsonRule::Expected(' ')),
            Err(_) => Ok(()),
        }
    }

    /// Enters the array (`[`) or object (`{`) at this position.
    pub fn open(&mut self, bracket: u8) -> Result<Inside, JsonError> {
        self.expect(bracket)?;
        Ok(Inside { close: if bracket == b'{' { b'}' } else { b']' }, first: true })
    }

    /// Moves to the next element and returns `true`. At the closing bracket, consumes it and returns `false`.
    pub fn another(&mut self, inside: &mut Inside) -> Result<bool, JsonError> {
        if self.peek()? == inside.close {
            self.at += 1;
            return Ok(false);
        }
        if !inside.first {
            self.expect(b',')?;
        }
        inside.first = false;
        Ok(true)
    }

    /// Reads an object's key and the colon after it.
    pub fn key(&mut self) -> Result<JsonStr<'a>, JsonError> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    pub fn string(&mut self) -> Result<JsonStr<'a>, JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escapes = false;
        loop {
            match self.text.get(self.at) {
                None => return self.fail(JsonRule::Ends),
                Some(b'"') => break,
                Some(0..0x20) => return self.fail(JsonRule::BadString),
                // Skips the escaped character, so that `\"` does not end the string.
                Some(b'\\') => {
                    escapes = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        let Ok(raw) = core::str::from_utf8(raw) else {
            return Err(JsonError { at: start, rule: JsonRule::NotUtf8 });
        };
        let mut chars = Unescape { rest: if escapes { raw } else { "" } };
        while let Some(next) = chars.advance() {
            if let Err(rule) = next {
                return Err(JsonError { at: self.at - chars.rest.len(), rule });
            }
        }
        self.at += 1;
        Ok(JsonStr { raw })
    }

    pub fn unsigned(&mut self) -> Result<usize, JsonError> {
        self.peek()?;
        let start = self.at;
        let mut value = 0usize;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            let next = value.checked_mul(10).and_then(|v| v.checked_add(usize::from(digit - b'0')));
            let Some(next) = next else { return self.fail(JsonRule::NotUnsigned) };
            value = next;
            self.at += 1;
        }
        let digits = self.at - start;
        let leading_zero = digits > 1 && self.text.get(start) == Some(&b'0');
        if digits == 0 || leading_zero || matches!(self.text.get(self.at), Some(b'.' | b'e' | b'E')) {
            return Err(JsonError { at: start, rule: JsonRule::NotUnsigned });
        }
        Ok(value)
    }

    pub fn fail<T>(&self, rule: JsonRule) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, rule })
    }
}

/// A JSON string, borrowed with its escapes. Comparison and display resolve the escapes.
#[derive(Clone, Copy, Default)]
pub struct JsonStr<'a> {
    /// Text between the quotes. Only [`Cursor::string`] constructs it, after checking every escape.
    raw: &'a str,
}

impl<'a> JsonStr<'a> {
    /// Returns the characters with escapes resolved.
    pub fn chars(&self) -> impl Iterator<Item = char> + Clone + 'a {
        Unescape { rest: self.raw }
    }

    /// Returns the text itself, if it has no escapes.
    pub fn as_plain(&self) -> Option<&'a str> {
        if self.raw.contains('\\') { None } else { Some(self.raw) }
    }
}

impl PartialEq for JsonStr<'_> {
    fn eq(&self, other: &Self) -> bool {
        match other.as_plain() {
            Some(plain) => self == plain,
            None => self.chars().eq(other.chars()),
        }
    }
}

impl Eq for JsonStr<'_> {}

impl PartialEq<str> for JsonStr<'_> {
    fn eq(&self, other: &str) -> bool {
        match self.as_plain() {
            Some(plain) => plain == other,
            None => self.chars().eq(other.chars()),
        }
    }
}

impl PartialEq<&str> for JsonStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for JsonStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl fmt::Debug for JsonStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.raw)
    }
}

/// Resolves escapes from left to right.
#[derive(Clone)]
struct Unescape<'a> {
    rest: &'a str,
}

impl Unescape<'_> {
    fn advance(&mut self) -> Option<Result<char, JsonRule>> {
        let first = self.take()?;
        Some(if first == '\\' { self.escape() } else { Ok(first) })
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let first = chars.next()?;
        self.rest = chars.as_str();
        Some(first)
    }

    fn escape(&mut self) -> Result<char, JsonRule> {
        Ok(match self.take().ok_or(JsonRule::BadString)? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.unit()?;
                let code = match high {
                    0xd800..0xdc00 => {
                        let low = match (self.take(), self.take()) {
                            (Some('\\'), Some('u')) => self.unit()?,
                            _ => return Err(JsonRule::NotUtf8),
                        };
                        if !(0xdc00..0xe000).contains(&low) {
                            return Err(JsonRule::NotUtf8);
                        }
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    _ => high,
                };
                char::from_u32(code).ok_or(JsonRule::NotUtf8)?
            }
            _ => return Err(JsonRule::BadString),
        })
    }

    /// Reads four hexadecimal digits: one UTF-16 unit.
    fn unit(&mut self) -> Result<u32, JsonRule> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.take().and_then(|c| c.to_digit(16)).ok_or(JsonRule::BadString)?;
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }
}

impl Iterator for Unescape<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        self.advance().and_then(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    fn read(text: &str) -> Result<String, JsonError> {
        Cursor::new(text.as_bytes()).string().map(|s| s.chars().collect())
    }

    #[test]
    fn escapes_mean_what_rfc_8259_says() {
        assert_eq!(read(r#""a\n\t\"\\\/\u00e9\ud83d\ude00é""#).unwrap(), "a\n\t\"\\/é😀é");
        assert_eq!(read("\"\"").unwrap(), "");
    }

    #[test]
    fn bad_strings_say_where_and_why() {
        for (text, at, rule) in [
            ("", 0, JsonRule::Ends),
            ("7", 0, JsonRule::Expected('"')),
            ("\"abc", 4, JsonRule::Ends),
            ("\"abc\\", 6, JsonRule::Ends),
            ("\"a\nb\"", 2, JsonRule::BadString),
            (r#""ab\x""#, 5, JsonRule::BadString),
            (r#""\u12g4""#, 6, JsonRule::BadString),
            (r#""\ud800""#, 7, JsonRule::NotUtf8),
            (r#""\ude00x""#, 7, JsonRule::NotUtf8),
            (r#""\ud800A""#, 8, JsonRule::NotUtf8),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.at, error.rule), (at, rule), "{text}");
        }
        assert_eq!(Cursor::new(b"\"\xff\"").string().unwrap_err().rule, JsonRule::NotUtf8);
    }

    #[test]
    fn numbers_are_whole_and_fit() {
        let read = |text: &str| Cursor::new(text.as_bytes()).unsigned().ok();
        assert_eq!(read(" 0"), Some(0));
        assert_eq!(read("150528,"), Some(150528));
        for bad in ["", "-1", "1.5", "1e3", "01", "true", "99999999999999999999999"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_serde_json_writes(text in ".*") {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read(&written).unwrap(), text);
        }

        #[test]
        fn accepts_only_strings_that_serde_json_accepts(body in r#"["\\u0-9a-fA-F n/]{0,24}"#) {
            let text = std::format!("\"{body}\"");
            let mut cursor = Cursor::new(text.as_bytes());
            let ours = cursor.string().and_then(|s| cursor.end().map(|()| s)).ok();
            let theirs = serde_json::from_str::<String>(&text).ok();
            prop_assert_eq!(ours.map(|s| s.chars().collect::<String>()), theirs);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.at() < bytes.len() && cursor.string().is_ok() {}
            let _ = Cursor::new(&bytes).unsigned();
            let _ = Cursor::new(&bytes).open(b'{');
        }
    }
}
