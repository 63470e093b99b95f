//! A bounds-checked reader of flatbuffers
//! (format: <https://flatbuffers.dev/internals/>).
//!
//! Every access is checked, so that no verification pass and no `unsafe` accessors are needed. Nothing is copied.

use crate::error::{ImportError, Result};

/// A table, whose fields are found through its vtable.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offsets of the fields, 0 for an absent one.
    vtable: &'a [u8],
}

/// A vector of `len` elements at `at`.
#[derive(Debug, Clone, Copy)]
pub struct Vector<'a> {
    bytes: &'a [u8],
    at: usize,
    pub len: usize,
}

fn outside(what: &str) -> Box<ImportError> {
    ImportError::malformed(format!("{what} extends beyond the end of the file"))
        .help("the file is truncated or damaged; download or convert it again")
}

fn chunk<const N: usize>(bytes: &[u8], at: usize, what: &str) -> Result<[u8; N]> {
    let end = at.checked_add(N);
    end.and_then(|end| bytes.get(at..end)?.try_into().ok()).ok_or_else(|| outside(what))
}

/// Follows the unsigned relative offset at `at`.
fn follow(bytes: &[u8], at: usize, what: &str) -> Result<usize> {
    let offset = u32::from_le_bytes(chunk(bytes, at, what)?);
    at.checked_add(offset as usize).filter(|&target| target < bytes.len()).ok_or_else(|| outside(what))
}

impl<'a> Table<'a> {
    pub fn root(bytes: &'a [u8]) -> Result<Self> {
        Self::at(bytes, follow(bytes, 0, "the root table")?, "the root table")
    }

    fn at(bytes: &'a [u8], at: usize, what: &str) -> Result<Self> {
        let back = i64::from(i32::from_le_bytes(chunk(bytes, at, what)?));
        let vtable = i64::try_from(at).ok().and_then(|at| usize::try_from(at.checked_sub(back)?).ok());
        let vtable = vtable.ok_or_else(|| outside(what))?;
        let size = usize::from(u16::from_le_bytes(chunk(bytes, vtable, what)?));
        let fields = vtable.checked_add(size).and_then(|end| bytes.get(vtable..end)).filter(|_| size >= 4);
        Ok(Self { bytes, at, vtable: fields.ok_or_else(|| outside(what))? })
    }

    /// Returns the position of the field with vtable offset `slot` (4, 6, 8, ...).
    fn field(&self, slot: usize) -> Option<usize> {
        let offset = u16::from_le_bytes(self.vtable.get(slot..slot + 2)?.try_into().ok()?);
        if offset == 0 { None } else { self.at.checked_add(usize::from(offset)) }
    }

    pub fn i8(&self, slot: usize, default: i8) -> Result<i8> {
        self.field(slot).map_or(Ok(default), |at| chunk(self.bytes, at, "a field").map(i8::from_le_bytes))
    }

    pub fn i32(&self, slot: usize, default: i32) -> Result<i32> {
        self.field(slot).map_or(Ok(default), |at| chunk(self.bytes, at, "a field").map(i32::from_le_bytes))
    }

    pub fn f32(&self, slot: usize, default: f32) -> Result<f32> {
        self.field(slot).map_or(Ok(default), |at| chunk(self.bytes, at, "a field").map(f32::from_le_bytes))
    }

    pub fn u32(&self, slot: usize) -> Result<u32> {
        self.field(slot).map_or(Ok(0), |at| chunk(self.bytes, at, "a field").map(u32::from_le_bytes))
    }

    pub fn u64(&self, slot: usize) -> Result<u64> {
        self.field(slot).map_or(Ok(0), |at| chunk(self.bytes, at, "a field").map(u64::from_le_bytes))
    }

    pub fn table(&self, slot: usize, what: &str) -> Result<Option<Self>> {
        let Some(at) = self.field(slot) else { return Ok(None) };
        Self::at(self.bytes, follow(self.bytes, at, what)?, what).map(Some)
    }

    /// Returns a vector with elements of `size` bytes; empty if absent.
    pub fn vector(&self, slot: usize, size: usize, what: &str) -> Result<Vector<'a>> {
        let Some(at) = self.field(slot) else { return Ok(Vector { bytes: self.bytes, at: 0, len: 0 }) };
        let at = follow(self.bytes, at, what)?;
        let len = u32::from_le_bytes(chunk(self.bytes, at, what)?) as usize;
        let start = at.checked_add(4).ok_or_else(|| outside(what))?;
        let end = len.checked_mul(size).and_then(|length| start.checked_add(length));
        if end.is_none_or(|end| end > self.bytes.len()) {
            return Err(outside(what));
        }
        Ok(Vector { bytes: self.bytes, at: start, len })
    }

    pub fn string(&self, slot: usize, what: &str) -> Result<&'a [u8]> {
        Ok(self.vector(slot, 1, what)?.as_bytes())
    }
}

impl<'a> Vector<'a> {
    /// Returns the elements of a vector of bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes.get(self.at..self.at.saturating_add(self.len)).unwrap_or(&[])
    }

    /// Returns the table at `index` of a vector of tables.
    pub fn table(self, index: usize, what: &str) -> Result<Table<'a>> {
        if index >= self.len {
            return Err(ImportError::malformed(format!("{what} {index} does not exist; there are {}", self.len)));
        }
        let at = follow(self.bytes, self.at + index * 4, what)?;
        Table::at(self.bytes, at, what)
    }

    pub fn i32s(self) -> impl ExactSizeIterator<Item = i32> + 'a {
        self.elements().map(i32::from_le_bytes)
    }

    pub fn f32s(self) -> impl ExactSizeIterator<Item = f32> + 'a {
        self.elements().map(f32::from_le_bytes)
    }

    pub fn i64s(self) -> impl ExactSizeIterator<Item = i64> + 'a {
        self.elements().map(i64::from_le_bytes)
    }

    fn elements<const N: usize>(self) -> impl ExactSizeIterator<Item = [u8; N]> + 'a {
        let end = self.at.saturating_add(self.len.saturating_mul(N));
        let (chunks, _) = self.bytes.get(self.at..end).unwrap_or(&[]).as_chunks::<N>();
        chunks.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root offset 12; vtable at 4 with one field at 4; table at 12 whose field points to a vector at 20 of two i32.
    const SMALL: [u8; 32] =
        [12, 0, 0, 0, 6, 0, 8, 0, 4, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 255, 255, 255, 255];

    #[test]
    fn reads_a_vector_and_defaults() {
        let table = Table::root(&SMALL).unwrap();
        assert_eq!(table.vector(4, 4, "v").unwrap().i32s().collect::<Vec<_>>(), [7, -1]);
        assert_eq!(table.i32(6, 5).unwrap(), 5);
        assert!(table.table(8, "t").unwrap().is_none());
    }

    #[test]
    fn corrupt_offsets_stay_in_bounds() {
        for at in 0..SMALL.len() {
            for value in 0..=255 {
                let mut bytes = SMALL;
                bytes[at] = value;
                if let Ok(table) = Table::root(&bytes) {
                    let _ = table.vector(4, 4, "v").map(|vector| vector.i32s().count());
                    let _ = table.vector(4, 4, "v").and_then(|vector| vector.table(0, "t"));
                    let _ = table.u64(4);
                }
            }
            assert!(Table::root(&SMALL[..at]).and_then(|table| table.vector(4, 4, "v")).is_err());
        }
    }
}
