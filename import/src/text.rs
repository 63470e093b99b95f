//! Names and shapes as messages show them.

use crate::error::{ImportError, Result};

/// A name of the file, fit for a line of an error.
pub fn shorten(name: &str) -> String {
    const LONGEST: usize = 72;
    let mut text: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

/// `1 tensor`, `2 tensors`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Product of dimensions, or an error.
pub fn elements(shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .ok_or_else(|| ImportError::malformed(format!("the shape {} overflows", display_shape(shape))))
}

/// `3x3x32x1`.
pub fn display_shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".into();
    }
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
