//! From a picture of any size to the pixels that a network reads, and from its logits to labeled classes.

mod filter;
mod framing;
mod guess;
mod metadata;
mod resample;
mod rgb;

pub use filter::Filter;
pub use framing::{Fit, Framing, FramingError};
pub use guess::{Guess, classify, frame};
pub use metadata::ClassifierMetadata;
pub use rgb::{Picture, PictureError, Rgb};
