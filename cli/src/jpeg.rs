//! Detection of truncated JPEG files. Decoders fill the missing part with gray.

use std::io::{self, BufRead};

/// Magic bytes of a JPEG file.
pub const MAGIC: &[u8] = b"\xff\xd8\xff";

const MARKER: u8 = 0xff;
const START: u8 = 0xd8;
const END: u8 = 0xd9;

/// Whether a file that starts with JPEG's magic bytes has an end marker (ITU-T T.81, annex B).
///
/// # Errors
/// If the file cannot be read.
pub fn is_complete(mut file: impl BufRead) -> io::Result<bool> {
    match complete(&mut file) {
        Ok(complete) => Ok(complete),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn complete(file: &mut impl BufRead) -> io::Result<bool> {
    if byte(file)? != MARKER || byte(file)? != START {
        return Ok(false);
    }
    loop {
        match marker(file)? {
            END => return Ok(true),
            // Markers without a segment: restarts, and an invalid second start.
            0x01 | 0xd0..=0xd8 => {}
            // A segment. The coded data after the header of a scan ends at the next marker.
            _ => {
                let length = u16::from_be_bytes([byte(file)?, byte(file)?]);
                skip(file, u64::from(length).saturating_sub(2))?;
            }
        }
    }
}

/// Returns the kind of the next marker. Bytes before it are coded data or, in damaged files, garbage.
fn marker(file: &mut impl BufRead) -> io::Result<u8> {
    loop {
        let length = {
            let data = file.fill_buf()?;
            if data.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            data.iter().position(|byte| *byte == MARKER).unwrap_or(data.len())
        };
        file.consume(length);
        if file.fill_buf()?.first() != Some(&MARKER) {
            continue;
        }
        file.consume(1);
        // Fill bytes may precede a marker; in coded data, 0 follows a byte of 0xff.
        let mut kind = byte(file)?;
        while kind == MARKER {
            kind = byte(file)?;
        }
        if kind != 0 {
            return Ok(kind);
        }
    }
}

fn byte(file: &mut impl BufRead) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn skip(file: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut io::Read::take(file, length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg() -> Vec<u8> {
        let noise =
            image::RgbImage::from_fn(70, 50, |x, y| image::Rgb([(x * 37 + y * 91) as u8, (x * y) as u8, x as u8]));
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut bytes).encode_image(&noise).unwrap();
        bytes
    }

    #[test]
    fn detects_every_truncation() {
        let bytes = jpeg();
        assert!(is_complete(&*bytes).unwrap());
        for end in 0..bytes.len() {
            assert!(!is_complete(&bytes[..end]).unwrap(), "{end} of {} bytes", bytes.len());
        }
        assert!(is_complete(&*[&bytes[..], b"trailing bytes"].concat()).unwrap());
    }

    #[test]
    fn ignores_the_end_marker_of_a_thumbnail() {
        let bytes = jpeg();
        let exif = [&[0xff, 0xe1], &(bytes.len() as u16 + 2).to_be_bytes()[..], &bytes].concat();
        let with_thumbnail = [&bytes[..2], &exif, &bytes[2..]].concat();
        assert!(is_complete(&*with_thumbnail).unwrap());
        assert!(!is_complete(&with_thumbnail[..with_thumbnail.len() / 4 * 3]).unwrap());
    }
}
