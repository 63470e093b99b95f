//! Decoders of picture files that `image` lacks: PNG row by row, JPEG at a reduced size, and the structure of JPEG files.
//!
//! They are a crate of their own because they compute: the release profile optimizes this crate, but not the command.
//! Functions take `dyn` readers, so that no generic code of a decoder is compiled in the crate that calls them.

use std::io::{BufRead, Seek};

pub mod jpeg;
pub mod png;
pub mod reduced;

/// An open file, or the bytes of one.
pub trait Source: BufRead + Seek {}

impl<S: BufRead + Seek> Source for S {}
