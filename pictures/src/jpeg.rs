//! Structure of JPEG files: truncated ones, whose missing part decoders fill with gray, and those that need more memory.

use std::io::{self, BufRead};

/// Magic bytes of a JPEG file.
pub const MAGIC: &[u8] = b"\xff\xd8\xff";

const MARKER: u8 = 0xff;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const PROGRESSIVE: u8 = 0xc2;
const SCAN: u8 = 0xda;

/// Structure of a JPEG file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Structure {
    /// Whether it has an end marker.
    pub is_complete: bool,
    /// Number of components, if a decoder keeps the coefficients of all blocks: the scans of a progressive image, and of
    /// one that is not interleaved, are parts of the same blocks.
    pub kept_components: u8,
    /// Number of pixels of the largest frame.
    pub pixels: u64,
}

/// Reads the markers of a file that starts with JPEG's magic bytes (ITU-T T.81, annex B).
///
/// # Errors
/// If the file cannot be read.
pub fn structure(file: &mut dyn BufRead) -> io::Result<Structure> {
    let mut found = Structure::default();
    match found.read(file) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(found),
    }
}

impl Structure {
    fn read(&mut self, file: &mut dyn BufRead) -> io::Result<()> {
        if byte(file)? != MARKER || byte(file)? != START {
            return Ok(());
        }
        let mut components = 0;
        loop {
            let kind = marker(file)?;
            match kind {
                END => {
                    self.is_complete = true;
                    return Ok(());
                }
                // Markers without a segment: restarts, and an invalid second start.
                0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            // A segment. The coded data after the header of a scan ends at the next marker.
            let length = u64::from(u16::from_be_bytes([byte(file)?, byte(file)?])).saturating_sub(2);
            let mut start = [0; 6];
            let known = length.min(start.len() as u64);
            file.read_exact(&mut start[..known as usize])?;
            match kind {
                // Tables and extensions, which have numbers among those of frames.
                0xc4 | 0xc8 | 0xcc => {}
                0xc0..=0xcf => {
                    components = start[5];
                    let side = |at: usize| u64::from(u16::from_be_bytes([start[at], start[at + 1]]));
                    self.pixels = self.pixels.max(side(1) * side(3));
                    if kind == PROGRESSIVE {
                        self.kept_components = components;
                    }
                }
                SCAN if start[0] < components => self.kept_components = components,
                _ => {}
            }
            skip(file, length - known)?;
        }
    }
}

/// Returns the kind of the next marker. Bytes before it are coded data or, in damaged files, garbage.
fn marker(file: &mut dyn BufRead) -> io::Result<u8> {
    loop {
        let data = file.fill_buf()?;
        if data.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match memchr::memchr(MARKER, data) {
            Some(length) => file.consume(length + 1),
            None => {
                let length = data.len();
                file.consume(length);
                continue;
            }
        }
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

fn byte(file: &mut dyn BufRead) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn skip(file: &mut dyn BufRead, length: u64) -> io::Result<()> {
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
        assert!(structure(&mut &*bytes).unwrap().is_complete);
        for end in 0..bytes.len() {
            assert!(!structure(&mut &bytes[..end]).unwrap().is_complete, "{end} of {} bytes", bytes.len());
        }
        assert!(structure(&mut &*[&bytes[..], b"trailing bytes"].concat()).unwrap().is_complete);
    }

    #[test]
    fn reads_the_size() {
        assert_eq!(structure(&mut &*jpeg()).unwrap().pixels, 70 * 50);
    }

    #[test]
    fn ignores_the_end_marker_of_a_thumbnail() {
        let bytes = jpeg();
        let exif = [&[0xff, 0xe1], &(bytes.len() as u16 + 2).to_be_bytes()[..], &bytes].concat();
        let with_thumbnail = [&bytes[..2], &exif, &bytes[2..]].concat();
        assert!(structure(&mut &*with_thumbnail).unwrap().is_complete);
        assert!(!structure(&mut &with_thumbnail[..with_thumbnail.len() / 4 * 3]).unwrap().is_complete);
    }

    #[test]
    fn detects_images_whose_coefficients_are_kept() {
        let mut bytes = jpeg();
        assert_eq!(structure(&mut &*bytes).unwrap().kept_components, 0);
        let scan = bytes.windows(2).position(|pair| pair == [MARKER, SCAN]).unwrap();
        assert_eq!(bytes[scan + 4], 3, "all components are in one scan");
        bytes[scan + 4] = 1;
        assert_eq!(structure(&mut &*bytes).unwrap().kept_components, 3, "not interleaved");
        bytes[scan + 4] = 3;
        let frame = bytes.windows(2).position(|pair| pair == [MARKER, 0xc0]).unwrap();
        bytes[frame + 1] = PROGRESSIVE;
        assert_eq!(structure(&mut &*bytes).unwrap().kept_components, 3);
    }
}
