//! The order of an image's channels, which preprocessing reverses by a slice, or by a stack of single channels.

use super::ops::Value;

/// Channels that a slice of a whole image selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    /// All in reverse order.
    Reversed,
    Channel(usize),
}

/// Returns the image whose three channels are stacked in reverse order; each is an image and the number of a channel.
pub fn reversed(stacked: [(Value, usize); 3]) -> Option<Value> {
    match stacked {
        [(image, 2), (second, 1), (third, 0)] if (image, image) == (second, third) => Some(image),
        _ => None,
    }
}
