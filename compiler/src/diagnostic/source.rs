//! Texts that a user wrote, and places in them.

/// A text and the name it is printed under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceFile {
    /// As the user gave it, for messages: a relative path, never an absolute one that the user did not write.
    pub name: String,
    /// The whole content.
    pub text: String,
}

/// Which text a [`Place`] is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The YAML file.
    Spec,
    /// The values given beside it, on the command line or in the macro call.
    Arguments,
}

/// A range of bytes within one line of a text; `start == end` is a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which text the bytes are of.
    pub origin: Origin,
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Place {
    /// The first byte of the spec.
    pub const START: Self = Self { origin: Origin::Spec, start: 0, end: 0 };
}

impl SourceFile {
    /// A text that messages call `name`.
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

    /// Line from 1.
    pub fn line(&self, byte: usize) -> usize {
        self.line_and_column(byte).0
    }

    /// The text of a place, empty where the place is in another text.
    pub fn excerpt(&self, place: Place) -> &str {
        self.text.get(place.start..place.end).unwrap_or_default()
    }

    /// Everything before a byte, or before the character that the byte is inside of.
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
