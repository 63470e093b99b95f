//! Source texts and places in them.

/// A text and the name it is printed under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceFile {
    /// Name in messages: the path as given, never made absolute.
    pub name: String,
    /// The whole content.
    pub text: String,
}

/// The text that a [`Place`] is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The YAML file.
    Spec,
    /// The overrides, from the command line or the macro call.
    Arguments,
}

/// A range of bytes within one line of a text, or a point if `start == end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub origin: Origin,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Place {
    /// The first byte of the spec.
    pub const START: Self = Self { origin: Origin::Spec, start: 0, end: 0 };
}

impl SourceFile {
    /// A text with its name in messages.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Line and column, both from 1, the column in characters. A byte order mark takes no column.
    pub fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = self.before(byte);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let column = before[line_start..].chars().filter(|&c| c != BYTE_ORDER_MARK).count() + 1;
        (line, column)
    }

    /// Line, from 1.
    pub fn line(&self, byte: usize) -> usize {
        self.line_and_column(byte).0
    }

    /// The text at a place; empty if the place is out of bounds.
    pub fn excerpt(&self, place: Place) -> &str {
        self.text.get(place.start..place.end).unwrap_or_default()
    }

    /// The text before a byte, rounded down to a character boundary.
    fn before(&self, byte: usize) -> &str {
        let end = (0..=byte.min(self.text.len())).rev().find(|&end| self.text.is_char_boundary(end)).unwrap_or(0);
        &self.text[..end]
    }
}

pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::SourceFile;

    #[test]
    fn counts_lines_and_characters_from_one() {
        let source = SourceFile::new("a.yaml", "é: 1\r\nwidth: 2\n");
        assert_eq!(source.line_and_column(0), (1, 1));
        assert_eq!(source.line_and_column(2), (1, 2));
        assert_eq!(source.line_and_column(7), (2, 1));
        assert_eq!(source.line_and_column(14), (2, 8));
        assert_eq!(source.line_and_column(1), (1, 1), "inside a character");
        assert_eq!(source.line_and_column(999), (3, 1), "behind the end");
    }

    #[test]
    fn byte_order_mark_takes_no_column() {
        assert_eq!(SourceFile::new("a.yaml", "\u{feff}width: 2").line_and_column(3), (1, 1));
    }
}
