//! Bounds-checked reads of little-endian numbers, with the file's address and length widths.

use crate::error::{ImportError, Result};

/// Byte offset in the file.
pub type Address = usize;

/// Bytes of an address and of a length in the file.
#[derive(Debug, Clone, Copy)]
pub struct Widths {
    offset: usize,
    length: usize,
}

impl Default for Widths {
    fn default() -> Self {
        Self { offset: 8, length: 8 }
    }
}

impl Widths {
    pub fn new(offset: u8, length: u8) -> Result<Self> {
        if [offset, length].iter().all(|width| matches!(width, 2 | 4 | 8)) {
            return Ok(Self { offset: offset.into(), length: length.into() });
        }
        Err(ImportError::malformed(format!("addresses and lengths have {offset} and {length} bytes"))
            .expected("2, 4 or 8"))
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    pub widths: Widths,
}

impl<'a> Cursor<'a> {
    pub fn new(rest: &'a [u8], widths: Widths) -> Self {
        Self { rest, widths }
    }

    /// Takes `count` bytes as a cursor.
    pub fn part(&mut self, count: usize) -> Result<Self> {
        Ok(Self::new(self.take(count)?, self.widths))
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| {
            ImportError::malformed("a part of the HDF5 file is truncated").help("the file may be truncated")
        })?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(|_| ())
    }

    /// Takes `count` bytes and skips the padding to a multiple of 8.
    pub fn take_padded(&mut self, count: usize) -> Result<&'a [u8]> {
        let taken = self.take(count)?;
        self.skip(count.next_multiple_of(8) - count)?;
        Ok(taken)
    }

    /// As [`Cursor::part`], and skips the padding to a multiple of 8.
    pub fn padded_part(&mut self, count: usize) -> Result<Self> {
        Ok(Self::new(self.take_padded(count)?, self.widths))
    }

    pub fn expect(&mut self, signature: &[u8], what: &str) -> Result<()> {
        if self.rest.starts_with(signature) {
            return self.skip(signature.len());
        }
        Err(ImportError::malformed(format!("expected {what}, found another signature")))
    }

    /// Reads a number of 1 to 8 bytes.
    pub fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.number(1)? as u8)
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(self.number(4)? as u32)
    }

    /// Reads a size of `width` bytes.
    pub fn size(&mut self, width: usize) -> Result<usize> {
        let number = self.number(width)?;
        usize::try_from(number).map_err(|_| ImportError::malformed(format!("the size {number} is too large")))
    }

    pub fn length(&mut self) -> Result<usize> {
        self.size(self.widths.length)
    }

    /// Reads an address; `None` for the undefined address, whose bits are all set.
    pub fn offset(&mut self) -> Result<Option<Address>> {
        let width = self.widths.offset;
        let number = self.number(width)?;
        if number == u64::MAX >> (64 - 8 * width) {
            return Ok(None);
        }
        usize::try_from(number)
            .map(Some)
            .map_err(|_| ImportError::malformed(format!("the address {number} is too large")))
    }

    /// Reads an address that must be defined.
    pub fn address(&mut self, what: &str) -> Result<Address> {
        self.offset()?.ok_or_else(|| ImportError::malformed(format!("{what} has no address")))
    }
}
