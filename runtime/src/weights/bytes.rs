//! The bytes of a weights file: static, in a vector, or in large pages.

use alloc::vec::Vec;
use core::ops::Deref;

#[cfg(feature = "std")]
use crate::scratch;

/// Maximum size of a weights file in bytes: the maximum number of float32 parameters, and the header.
#[cfg(feature = "std")]
const LARGEST: usize = (1 << 30) + (1 << 21);

#[derive(Clone)]
pub enum Bytes {
    Static(&'static [u8]),
    Vec(Vec<u8>),
    #[cfg(feature = "std")]
    Pages(scratch::Pages, usize),
}

impl Bytes {
    /// Reads a regular file of at most [`LARGEST`] bytes into large pages.
    #[cfg(feature = "std")]
    pub fn read(path: &std::path::Path) -> std::io::Result<Self> {
        use std::io::{Error, Read};

        // Before the file is opened: a pipe blocks, and a device may have no end.
        let about = std::fs::metadata(path)?;
        if !about.is_file() {
            return Err(Error::other("not a regular file; save the weights to a file"));
        }
        let Some(length) = usize::try_from(about.len()).ok().filter(|length| *length <= LARGEST) else {
            return Err(Error::other(alloc::format!("expected at most {LARGEST} bytes, found {}", about.len())));
        };
        let mut file = std::fs::File::open(path)?;
        let mut pages = scratch::Pages::zeroed(length.div_ceil(size_of::<scratch::Line>()));
        let mut read = 0;
        loop {
            match file.read(&mut scratch::bytes_mut(&mut pages)[read..length]) {
                // A file that shrinks or grows meanwhile does not match its header.
                Ok(0) => return Ok(Self::Pages(pages, read)),
                Ok(count) => read += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Vec(bytes) => bytes,
            #[cfg(feature = "std")]
            Self::Pages(pages, length) => &scratch::bytes(pages)[..*length],
        }
    }
}
