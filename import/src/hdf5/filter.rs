//! Filters of chunks (FF IV.A.2.l): reverses deflate and shuffle.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::cursor::Cursor;
use crate::error::{ImportError, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Deflate,
    /// Groups bytes of equal significance.
    Shuffle,
}

/// Reads the filters in the order of application.
pub fn pipeline(mut message: Cursor<'_>) -> Result<Vec<Filter>> {
    /// Each filter costs a pass over the data, and neither is useful twice.
    const MOST: u8 = 4;
    let (version, count) = (message.u8()?, message.u8()?);
    if count > MOST {
        return Err(
            ImportError::unsupported(format!("the dataset has {count} filters")).expected(format!("at most {MOST}"))
        );
    }
    match version {
        1 => message.skip(6)?,
        2 => {}
        other => return Err(ImportError::malformed(format!("unsupported filter version {other}")).expected("1 or 2")),
    }
    let mut filters = Vec::new();
    for _ in 0..count {
        let id = message.u16()?;
        // Version 2 omits the names of predefined filters.
        let name = if version == 1 || id >= 256 { message.u16()? } else { 0 };
        // Flags.
        message.skip(2)?;
        let values = usize::from(message.u16()?);
        if version == 1 {
            message.take_padded(name.into())?
        } else {
            message.take(name.into())?
        };
        message.skip(4 * values + if version == 1 && values % 2 == 1 { 4 } else { 0 })?;
        filters.push(match id {
            1 => Filter::Deflate,
            2 => Filter::Shuffle,
            other => {
                return Err(ImportError::unsupported(format!("unsupported HDF5 filter {other}"))
                    .expected("deflate (1) or shuffle (2)")
                    .help("save the model again with Keras itself, or unpack the file with `h5repack -f NONE`"));
            }
        });
    }
    Ok(filters)
}

/// Reverses `filters` except those whose bit is set in `mask`. The result must have `size` bytes.
pub fn undo(filters: &[Filter], mask: u32, packed: &[u8], size: usize, element: usize) -> Result<Vec<u8>> {
    let mut bytes = packed.to_vec();
    for (at, filter) in filters.iter().enumerate().rev() {
        if mask.checked_shr(at as u32).is_some_and(|mask| mask & 1 != 0) {
            continue;
        }
        bytes = match filter {
            Filter::Deflate => inflated(&bytes, size)?,
            Filter::Shuffle => unshuffled(&bytes, element),
        };
    }
    if bytes.len() != size {
        return Err(ImportError::malformed("the size of a chunk does not match its shape")
            .expected(format!("{size} bytes"))
            .found(format!("{} bytes", bytes.len())));
    }
    Ok(bytes)
}

fn inflated(packed: &[u8], size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = (size as u64).saturating_add(1);
    ZlibDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| ImportError::malformed(format!("cannot unpack a chunk: {error}")))?;
    Ok(bytes)
}

/// Reverses shuffle. Trailing bytes that are not a whole element stay as they are.
fn unshuffled(bytes: &[u8], element: usize) -> Vec<u8> {
    let count = bytes.len().checked_div(element).unwrap_or(0);
    let (shuffled, rest) = bytes.split_at(count * element);
    let mut plain = vec![0; shuffled.len()];
    for (significance, column) in shuffled.chunks_exact(count.max(1)).enumerate() {
        let places = plain.iter_mut().skip(significance).step_by(element.max(1));
        places.zip(column).for_each(|(place, byte)| *place = *byte);
    }
    plain.extend_from_slice(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Widths;
    use super::*;

    #[test]
    fn rejects_too_many_filters() {
        let deflate = [1, 0, 0, 0, 0, 0];
        let read = |count: u8| {
            pipeline(Cursor::new(&[&[2, count][..], &deflate.repeat(count.into())].concat(), Widths::default()))
        };
        assert_eq!(read(2).unwrap(), [Filter::Deflate; 2]);
        assert!(read(5).unwrap_err().to_string().contains("has 5 filters"));
    }

    #[test]
    fn shuffle_is_reversed() {
        assert_eq!(unshuffled(&[1, 4, 2, 5, 3, 6, 9], 3), [1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(unshuffled(&[1, 2], 3), [1, 2]);
        assert_eq!(unshuffled(&[1, 2], 0), [1, 2]);
    }

    #[test]
    fn masked_filters_are_skipped_and_sizes_checked() {
        assert_eq!(undo(&[Filter::Deflate], 1, b"abcd", 4, 1).unwrap(), b"abcd");
        assert!(undo(&[Filter::Deflate], 0, b"abcd", 4, 1).is_err());
        assert!(undo(&[], 0, b"abcd", 5, 1).is_err());
    }
}
