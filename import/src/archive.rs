//! A reader of zip archive members, each whole and within limits (APPNOTE.TXT, PKWARE, 6.3.10).
//!
//! A member's declared size is checked against the archive's before anything is allocated, and no more than that is
//! unpacked. Stored members, which is how frameworks write weights, are not copied.

use std::borrow::Cow;
use std::io::{self, Cursor, Read as _};

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use crate::error::{ImportError, Result};
use crate::text::shorten;

/// First bytes of an archive.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// First bytes of a directory record.
const RECORD: &[u8] = b"PK\x01\x02";

/// Most members of an archive; a MobileNetV2 checkpoint has a few hundred.
const MAX_MEMBERS: usize = 1 << 14;
/// Highest compression ratio of deflate.
const MAX_RATIO: u64 = 1032;

/// An archive in memory.
pub struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Archive<'a> {
    /// # Errors
    /// If the directory at the end of the archive is damaged or lists too many members.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        // Decoding expands the directory to several times its size.
        let records = bytes.windows(RECORD.len()).filter(|window| *window == RECORD).take(MAX_MEMBERS + 1).count();
        if records > MAX_MEMBERS {
            return Err(
                ImportError::unsupported("the archive has too many members").expected(format!("at most {MAX_MEMBERS}"))
            );
        }
        // The detection of data before the archive misreads the directory of some PyTorch files.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|error| {
            ImportError::malformed(format!("invalid zip archive: {error}")).help("the file may be truncated")
        })?;
        Ok(Self { bytes, zip })
    }

    /// Returns the names of all members whose name is valid UTF-8.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.zip.file_names_raw().filter_map(|name| str::from_utf8(name).ok())
    }

    pub fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// Returns the content of member `name`, which must not exceed `limit` bytes.
    ///
    /// # Errors
    /// If the member is missing, too large, encrypted or damaged. Its checksum is verified.
    pub fn read(&mut self, name: &str, limit: usize) -> Result<Cow<'a, [u8]>> {
        self.member(name, limit).map_err(|error| error.at(format!("member '{}' of the archive", shorten(name))))
    }

    fn member(&mut self, name: &str, limit: usize) -> Result<Cow<'a, [u8]>> {
        let damaged = |problem: String| ImportError::malformed(problem).help("the file may be truncated");
        let mut member = self.zip.by_name(name).map_err(|error| damaged(error.to_string()))?;
        let (packed, size) = (member.compressed_size(), member.size());
        if size > limit as u64 {
            return Err(
                ImportError::unsupported(format!("the size is {size} bytes")).expected(format!("at most {limit}"))
            );
        }
        if packed > self.bytes.len() as u64 || size > packed.saturating_mul(MAX_RATIO) {
            return Err(damaged(format!("declares {size} bytes, compressed to {packed}")));
        }
        let failed = |error: io::Error| damaged(format!("cannot be unpacked: {error}"));
        if member.compression() == CompressionMethod::Stored
            && let Some(start) = member.data_start().and_then(|start| usize::try_from(start).ok())
            && let Some(end) = usize::try_from(size).ok().and_then(|size| start.checked_add(size))
            && let Some(content) = self.bytes.get(start..end)
        {
            // Reads to the end, where the checksum is verified.
            io::copy(&mut member, &mut io::sink()).map_err(failed)?;
            return Ok(Cow::Borrowed(content));
        }
        let mut content = Vec::new();
        member.by_ref().take(size.saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 != size {
            return Err(damaged(format!("declares {size} bytes, but unpacks to another length")));
        }
        Ok(Cow::Owned(content))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, method) in [("stored", CompressionMethod::Stored), ("deflated", CompressionMethod::Deflated)] {
            writer.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
            writer.write_all(&[7; 5000]).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// PyTorch writes zip64 records in every archive. They take 76 bytes, as many as a directory entry whose name has 30.
    #[test]
    fn names_of_any_length_are_read_with_the_records_of_large_archives() {
        for length in 1..=64 {
            let names = ["a".repeat(length), "b".repeat(length)];
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            for name in &names {
                writer.start_file(name, SimpleFileOptions::default()).unwrap();
                writer.write_all(&[7; 100]).unwrap();
            }
            let bytes = with_zip64(&writer.finish().unwrap().into_inner());
            let mut archive = Archive::open(&bytes).unwrap_or_else(|error| panic!("{length}: {error}"));
            for name in &names {
                assert_eq!(*archive.read(name, 100).unwrap(), [7; 100], "{length}");
            }
        }
    }

    /// Inserts the zip64 end record and its locator before the end record (sections 4.3.14 and 4.3.15).
    fn with_zip64(archive: &[u8]) -> Vec<u8> {
        let (before, end) = archive.split_at(archive.len() - 22);
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([end[at], end[at + 1]]));
        let u32_at = |at: usize| u64::from(u32::from_le_bytes(end[at..at + 4].try_into().unwrap()));
        let mut bytes = before.to_vec();
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44_u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0]);
        bytes.extend([0; 8]);
        for number in [u16_at(8), u16_at(10), u32_at(12), u32_at(16)] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend((before.len() as u64).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(end);
        bytes
    }

    #[test]
    fn stored_members_are_not_copied() {
        let bytes = archive();
        let mut archive = Archive::open(&bytes).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["stored", "deflated"]);
        assert!(archive.has("stored") && !archive.has("absent"));
        assert!(matches!(archive.read("stored", 5000).unwrap(), Cow::Borrowed(content) if content == [7; 5000]));
        assert!(matches!(archive.read("deflated", 5000).unwrap(), Cow::Owned(content) if content == [7; 5000]));
    }

    #[test]
    fn rejects_members_above_the_limit() {
        let bytes = archive();
        let mut archive = Archive::open(&bytes).unwrap();
        for name in ["stored", "deflated"] {
            let error = archive.read(name, 4999).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("member '{name}' of the archive: the size is 5000 bytes\n  expected: at most 4999")
            );
        }
        assert!(archive.read("absent", 1).is_err());
    }

    #[test]
    fn rejects_impossible_compression_ratios() {
        let mut bytes = archive();
        // Uncompressed size of the second record of the directory.
        let record = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        bytes[record + 24..record + 28].copy_from_slice(&0x4000_0000u32.to_le_bytes());
        let error = Archive::open(&bytes).unwrap().read("deflated", 1 << 30).unwrap_err().to_string();
        assert!(error.contains("declares 1073741824 bytes"), "{error}");
    }

    #[test]
    fn checksums_are_verified() {
        let mut bytes = archive();
        bytes[100] ^= 1;
        let error = Archive::open(&bytes).unwrap().read("stored", 5000).unwrap_err().to_string();
        assert!(error.contains("cannot be unpacked"), "{error}");
        bytes.truncate(bytes.len() - 3);
        assert!(Archive::open(&bytes).is_err());
    }
}
