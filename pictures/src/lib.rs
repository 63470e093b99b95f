//! Picture files: decoded within limits of pixels and memory, turned by their Exif orientation, and framed for a network.
//!
//! Uses the decoders of the `image` crate, and adds PNG row by row, JPEG at a reduced size, and a reader of the structure of JPEG
//! files. This is a separate crate because the release profile optimizes it, but not the command.

use std::io::{BufRead, Seek};

mod budget;
mod error;
mod jpeg;
mod photo;
mod png;
mod reduced;

pub use error::{Error, Result};
pub use photo::{EXTENSIONS, Photo, load, load_icon};
pub use reduced::Target;

/// An open file, or the bytes of one.
trait Source: BufRead + Seek {}

impl<S: BufRead + Seek> Source for S {}
