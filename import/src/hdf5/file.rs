//! An HDF5 file in memory, and the limits within which it is read.

use std::cell::Cell;

use super::cursor::{Address, Cursor, Widths};
use crate::error::{ImportError, Result};
use crate::limits;

/// How a file begins (FF II.A).
pub const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Nodes, messages and entries that are looked at: a hundred times as many as a nested MobileNetV2 has.
const MAX_STEPS: usize = 1 << 21;

/// A file in memory.
pub struct File<'a> {
    pub(super) bytes: &'a [u8],
    widths: Widths,
    pub(super) root: Address,
    /// Steps that may still be taken.
    steps: Cell<usize>,
    /// Bytes that may still be unpacked.
    room: Cell<usize>,
}

impl<'a> File<'a> {
    /// Reads the superblock (FF II.A).
    ///
    /// # Errors
    /// Where the file is none of HDF5, or shorter than it says.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes, Widths::default());
        cursor.expect(MAGIC, "an HDF5 file")?;
        let version = cursor.u8()?;
        match version {
            // Versions of the free space, of the root's entry, a reserved byte, and the version of shared messages.
            0 | 1 => cursor.skip(4)?,
            2 | 3 => {}
            other => {
                return Err(ImportError::unsupported(format!("the HDF5 superblock has version {other}"))
                    .expected("version 0 to 3"));
            }
        }
        cursor.widths = Widths::new(cursor.u8()?, cursor.u8()?)?;
        // A reserved byte, two sizes of nodes and flags; or flags alone.
        cursor.skip(match version {
            0 => 9,
            1 => 13,
            _ => 1,
        })?;
        if cursor.offset()? != Some(0) {
            return Err(ImportError::unsupported("the HDF5 file has a user block").expected("a base address of 0"));
        }
        // Free space, or an extension of the superblock.
        cursor.offset()?;
        let end = cursor.offset()?.unwrap_or(usize::MAX);
        if end > bytes.len() {
            return Err(ImportError::malformed("the file is truncated")
                .expected(format!("{end} bytes"))
                .found(format!("{}", bytes.len())));
        }
        if version < 2 {
            // Driver information, and the offset of the root's name.
            cursor.offset()?;
            cursor.offset()?;
        }
        let root = cursor.address("the root group")?;
        let room = limits::unpacked(bytes.len());
        Ok(Self { bytes, widths: cursor.widths, root, steps: Cell::new(MAX_STEPS), room: Cell::new(room) })
    }

    /// The file from `address` on.
    pub(super) fn at(&self, address: Address) -> Result<Cursor<'a>> {
        let bytes = self.bytes.get(address..).filter(|bytes| !bytes.is_empty());
        let bytes =
            bytes.ok_or_else(|| ImportError::malformed(format!("address {address} is beyond the file's end")))?;
        Ok(Cursor::new(bytes, self.widths))
    }

    /// Counts work.
    pub(super) fn step(&self) -> Result<()> {
        let left = self.steps.get().checked_sub(1).ok_or_else(|| {
            ImportError::malformed("the HDF5 file has too many parts, or some of them lie in a circle")
        })?;
        self.steps.set(left);
        Ok(())
    }

    /// Counts bytes that are about to be allocated.
    pub fn charge(&self, bytes: usize) -> Result<()> {
        let left = self.room.get().checked_sub(bytes).ok_or_else(|| {
            ImportError::malformed(format!("a dataset claims {bytes} bytes, which the file cannot hold"))
        })?;
        self.room.set(left);
        Ok(())
    }
}
