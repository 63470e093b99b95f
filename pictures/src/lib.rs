//! Picture files: decoded within limits of pixels and memory, turned by their Exif orientation, and framed for a network.
//!
//! `photo` uses the decoders of `image`, and those that it lacks: PNG row by row, JPEG at a reduced size, and the structure of
//! JPEG files. They are a crate of their own because they compute: the release profile optimizes this crate, but not the
//! command. Functions take `dyn` readers, so that no generic code of a decoder is compiled in the crate that calls them.

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
