//! The bytes of a weights file: static, in a vector, or in large pages.

use alloc::vec::Vec;
use core::ops::Deref;

#[cfg(feature = "std")]
use crate::scratch;

#[derive(Clone)]
pub enum Bytes {
    Static(&'static [u8]),
    Vec(Vec<u8>),
    #[cfg(feature = "std")]
    Pages(scratch::Pages, usize),
}

impl Bytes {
    /// Reads a file into large pages.
    #[cfg(feature = "std")]
    pub fn read(path: &std::path::Path) -> std::io::Result<Self> {
        use std::io::Read;

        let mut file = std::fs::File::open(path)?;
        // No network of the family is that large. `fs::read` fails gracefully if the memory does not suffice.
        const LARGEST: u64 = 1 << 30;
        let length = file.metadata()?.len();
        if length > LARGEST {
            return std::fs::read(path).map(Self::Vec);
        }
        let length = length as usize;
        let mut pages = scratch::Pages::zeroed(length.div_ceil(size_of::<scratch::Line>()));
        let mut read = 0;
        // Reads one byte past the reported length to find the end: a pipe reports 0, and a file may grow meanwhile.
        let mut beyond = [0];
        loop {
            let rest = &mut scratch::bytes_mut(&mut pages)[read..length];
            match file.read(if rest.is_empty() { &mut beyond } else { rest }) {
                Ok(0) => return Ok(Self::Pages(pages, read)),
                Ok(_) if read == length => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut bytes = scratch::bytes(&pages)[..length].to_vec();
        bytes.push(beyond[0]);
        file.read_to_end(&mut bytes)?;
        Ok(Self::Vec(bytes))
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
