//! Framing of pictures of any size, and classification.

mod filter;
mod framing;
mod guess;
mod metadata;
mod resample;
mod rgb;
#[cfg(target_arch = "x86_64")]
mod strips;
mod taps;

pub use filter::Filter;
pub use framing::{Fit, Framing, FramingError};
pub use guess::{Guess, classify, frame};
pub use metadata::ClassifierMetadata;
pub use rgb::{Picture, PictureError, Rgb};
