//! Parts of a source, and the text of it that messages repeat.

use crate::diagnostic::Origin;

/// Most characters of the user's text that a message repeats.
const SHOWN: usize = 40;

/// A part of a source; places refer to the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Excerpt<'a> {
    pub text: &'a str,
    pub origin: Origin,
    /// Byte of the source where the text begins.
    pub base: usize,
}

/// The beginning of a text, escaped for one line of a message.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    short.replace("\\'", "'").replace("\\\"", "\"")
}
