//! An HDF5 file in memory, and the limits of reading it.

use std::cell::Cell;

use super::cursor::{Address, Cursor, Widths};
use crate::error::{ImportError, Result};
use crate::limits;

/// First bytes of a file (FF II.A).
pub const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Most nodes, messages and entries visited, a hundred times those of a nested MobileNetV2.
const MAX_STEPS: usize = 1 << 21;

/// A file in memory.
pub struct File<'a> {
    pub(super) bytes: &'a [u8],
    widths: Widths,
    pub(super) root: Address,
    /// Remaining steps.
    steps: Cell<usize>,
    /// Remaining bytes to unpack.
    room: Cell<usize>,
}

impl<'a> File<'a> {
    /// Reads the superblock (FF II.A).
    ///
    /// # Errors
    /// If the file is not HDF5, or is truncated.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes, Widths::default());
        cursor.expect(MAGIC, "an HDF5 file")?;
        let version = cursor.u8()?;
        match version {
            // Versions of the free space and the root's entry, a reserved byte, the version of shared messages.
            0 | 1 => cursor.skip(4)?,
            2 | 3 => {}
            other => {
                return Err(ImportError::unsupported(format!("the HDF5 superblock has version {other}"))
                    .expected("version 0 to 3"));
            }
        }
        cursor.widths = Widths::new(cursor.u8()?, cursor.u8()?)?;
        // A reserved byte, two node sizes and flags, or only flags.
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
                .found(format!("{} bytes", bytes.len())));
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

    /// Returns a cursor at `address`.
    pub(super) fn at(&self, address: Address) -> Result<Cursor<'a>> {
        let bytes = self.bytes.get(address..).filter(|bytes| !bytes.is_empty());
        let bytes =
            bytes.ok_or_else(|| ImportError::malformed(format!("address {address} is beyond the end of the file")))?;
        Ok(Cursor::new(bytes, self.widths))
    }

    /// Counts a step.
    pub(super) fn step(&self) -> Result<()> {
        let left = self
            .steps
            .get()
            .checked_sub(1)
            .ok_or_else(|| ImportError::malformed("the HDF5 file has too many parts, or a cycle of parts"))?;
        self.steps.set(left);
        Ok(())
    }

    /// Counts bytes before they are allocated.
    pub fn charge(&self, bytes: usize) -> Result<()> {
        let left = self.room.get().checked_sub(bytes).ok_or_else(|| {
            ImportError::malformed(format!("a dataset declares {bytes} bytes, more than the file can contain"))
        })?;
        self.room.set(left);
        Ok(())
    }
}
