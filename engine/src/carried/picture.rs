//! Decoders of binary PPM and PGM, and of uncompressed BMP.
//!
//! Files are not trusted: no allocation is larger than a file of that length can fill.

use super::rt::Rgb;

/// Maximum pixels of a picture, as in Pillow and `mbvc classify`.
pub const MAX_PIXELS: usize = 178_956_970;

/// Part of every message about an unsupported format.
const READ: &str =
    "expected binary PPM or PGM, uncompressed BMP, or raw pixels; convert it with `magick PICTURE picture.ppm`";
/// Remedy for a damaged file.
const AGAIN: &str = "copy or export the picture again";

/// Decodes a file in the format of its first bytes, or raw pixels if it has the length of a picture of the shape `raw`,
/// `[height, width, channels]`.
///
/// # Errors
/// If the format is unknown, or the file is truncated or too large.
pub fn decode(bytes: Vec<u8>, raw: [usize; 3]) -> Result<Rgb<'static>, String> {
    match bytes.get(..2) {
        Some(b"P6" | b"P5") => netpbm(&bytes),
        Some(b"BM") => bmp(&bytes),
        _ if Some(bytes.len()) == samples(raw) => raw_pixels(bytes, raw),
        _ => Err(unknown(&bytes, raw)),
    }
}

/// Returns the picture of a shape, `[height, width, channels]`, with these bytes, row by row: red, green and blue, or gray if
/// there is one channel.
///
/// # Errors
/// If their number is wrong.
pub fn raw_pixels(bytes: Vec<u8>, [height, width, channels]: [usize; 3]) -> Result<Rgb<'static>, String> {
    match samples([height, width, 1]) {
        Some(expected) if channels == 1 && expected != bytes.len() => {
            Err(format!("{} bytes do not fit a gray picture of {width}x{height}: expected {expected}", bytes.len()))
        }
        _ => {
            let pixels = if channels == 1 { bytes.into_iter().flat_map(|gray| [gray; 3]).collect() } else { bytes };
            Rgb::new(pixels, [height, width]).map_err(|error| error.to_string())
        }
    }
}

fn unknown(bytes: &[u8], raw: [usize; 3]) -> String {
    let formats: [(&[u8], &str); 6] = [
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG", "PNG"),
        (b"GIF8", "GIF"),
        (b"RIFF", "WebP"),
        (b"P2", "text PGM"),
        (b"P3", "text PPM"),
    ];
    let what = match formats.iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, format)) => format!("unsupported format {format}"),
        None => format!(
            "unknown format, and the length is not that of raw pixels of the network's size ({1}x{0}: expected {2} bytes, \
             found {3})",
            raw[0],
            raw[1],
            samples(raw).unwrap_or(0),
            bytes.len()
        ),
    };
    format!("{what}; {READ}")
}

/// Returns the number of samples of a picture of a shape, `[height, width, channels]`; `None` if it overflows.
fn samples([height, width, channels]: [usize; 3]) -> Option<usize> {
    height.checked_mul(width)?.checked_mul(channels)
}

/// # Errors
/// If a picture of that size is empty or too large.
fn check_size([height, width]: [usize; 2]) -> Result<(), String> {
    match samples([height, width, 1]) {
        Some(0) => Err(format!("the picture has no pixels ({width}x{height}); {AGAIN}")),
        Some(count) if count <= MAX_PIXELS => Ok(()),
        _ => Err(format!("expected at most {MAX_PIXELS} pixels, found {width}x{height}; shrink the picture first")),
    }
}

fn truncated(needed: usize, found: usize) -> String {
    format!("truncated file: expected {needed} bytes of pixels, found {found}; {AGAIN}")
}

fn damaged_header() -> String {
    format!("damaged header; {AGAIN}")
}

/// Decodes netpbm: `P6` or `P5`, then width, height and the largest sample as decimal numbers between white space and
/// comments, one white space, and samples of one byte, or of two in big-endian order if the largest is above 255.
fn netpbm(bytes: &[u8]) -> Result<Rgb<'static>, String> {
    let channels = if bytes.starts_with(b"P6") { 3 } else { 1 };
    let mut rest = bytes.get(2..).unwrap_or_default();
    let [width, height, most] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
    let (Some((space, data)), 1..=0xffff) = (rest.split_first(), most) else {
        return Err(format!("damaged header (largest sample {most}); {AGAIN}"));
    };
    if !space.is_ascii_whitespace() {
        return Err(damaged_header());
    }
    check_size([height, width])?;
    let depth = if most > 0xff { 2 } else { 1 };
    let needed = samples([height, width, channels * depth]).unwrap_or(usize::MAX);
    // Another picture may follow.
    let data = data.get(..needed).ok_or_else(|| truncated(needed, data.len()))?;
    let scaled = |sample: usize| ((sample.min(most) * 0xff + most / 2) / most) as u8;
    let samples: Vec<u8> = match (depth, most) {
        (1, 0xff) => data.to_vec(),
        (1, _) => data.iter().map(|sample| scaled(usize::from(*sample))).collect(),
        _ => data.as_chunks::<2>().0.iter().map(|pair| scaled(usize::from(u16::from_be_bytes(*pair)))).collect(),
    };
    raw_pixels(samples, [height, width, channels])
}

/// Reads the next decimal number of a header, after white space and comments.
fn number(rest: &mut &[u8]) -> Result<usize, String> {
    loop {
        match rest.split_first() {
            Some((b'#', _)) => {
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                *rest = rest.get(end..).unwrap_or_default();
            }
            Some((space, after)) if space.is_ascii_whitespace() => *rest = after,
            _ => break,
        }
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(digits);
    *rest = after;
    let number = str::from_utf8(digits).ok().filter(|digits| !digits.is_empty());
    number.and_then(|digits| digits.parse().ok()).ok_or_else(damaged_header)
}

/// Little-endian fields of a header.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().ok_or_else(|| format!("the file ends within its header; {AGAIN}"))
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        Ok(u16::from_le_bytes(self.bytes(at)?))
    }

    fn u32(&self, at: usize) -> Result<usize, String> {
        Ok(u32::from_le_bytes(self.bytes(at)?) as usize)
    }

    fn i32(&self, at: usize) -> Result<i32, String> {
        Ok(i32::from_le_bytes(self.bytes(at)?))
    }
}

/// Length of the file header, which the bitmap header follows.
const BMP_HEADER: usize = 14;

/// Decodes a BMP with a `BITMAPINFOHEADER` or a longer one: 24 or 32 bits per pixel, or 8 with a palette. Rows are
/// padded to four bytes and stored bottom-up unless the height is negative. A fourth channel is ignored.
fn bmp(bytes: &[u8]) -> Result<Rgb<'static>, String> {
    let header = Header(bytes);
    let (start, header_bytes) = (header.u32(10)?, header.u32(BMP_HEADER)?);
    if header_bytes < 40 {
        return Err(format!("unsupported OS/2 BMP; {READ}"));
    }
    let (width, height) = (header.i32(18)?, header.i32(22)?);
    let size = [height.unsigned_abs() as usize, usize::try_from(width).unwrap_or(0)];
    let (bits, compression) = (header.u16(28)?, header.u32(30)?);
    check_size(size)?;
    let [rows, columns] = size;
    // Offsets of red, green and blue in a pixel.
    let order = match (bits, compression) {
        (8 | 24 | 32, 0) => [2, 1, 0],
        // BI_BITFIELDS: masks follow the first forty bytes, within the header or after it.
        (32, 3) => masks([header.u32(54)?, header.u32(58)?, header.u32(62)?])?,
        _ => return Err(format!("unsupported BMP of {bits} bits per pixel, compression {compression}; {READ}")),
    };
    let bytes_each = usize::from(bits / 8);
    let row_bytes = columns.checked_mul(bytes_each).and_then(|row| row.checked_next_multiple_of(4));
    let needed = row_bytes.and_then(|row| row.checked_mul(rows)).unwrap_or(usize::MAX);
    let data = bytes.get(start..).unwrap_or_default();
    let data = data.get(..needed).ok_or_else(|| truncated(needed, data.len()))?;
    let palette = if bits == 8 { palette(&header, header_bytes)? } else { Vec::new() };
    let mut pixels = Vec::with_capacity(rows * columns * 3);
    let mut push = |row: &[u8]| {
        for pixel in row.chunks_exact(bytes_each).take(columns) {
            match pixel {
                [index] => pixels.extend(palette.get(usize::from(*index)).copied().unwrap_or_default()),
                _ => pixels.extend(order.map(|at| pixel.get(at).copied().unwrap_or_default())),
            }
        }
    };
    let rows = data.chunks_exact(row_bytes.unwrap_or(4));
    if height < 0 {
        rows.for_each(&mut push)
    } else {
        rows.rev().for_each(&mut push)
    }
    raw_pixels(pixels, [size[0], size[1], 3])
}

/// Offsets of the bytes that the masks select.
fn masks(masks: [usize; 3]) -> Result<[usize; 3], String> {
    let mut order = [0; 3];
    for (at, mask) in order.iter_mut().zip(masks) {
        let byte = (0..4).find(|byte| mask == 0xff << (8 * byte));
        *at = byte.ok_or_else(|| format!("unsupported BMP with the color mask {mask:#x}; {READ}"))?;
    }
    Ok(order)
}

/// Colors of the palette.
fn palette(header: &Header<'_>, header_bytes: usize) -> Result<Vec<[u8; 3]>, String> {
    let count = match header.u32(46)? {
        0 => 256,
        count => count.min(256),
    };
    let start = header_bytes.saturating_add(BMP_HEADER);
    let colors = (0..count).map(|index| header.bytes::<4>(start.saturating_add(index * 4)));
    colors.map(|color| color.map(|[blue, green, red, _]| [red, green, blue])).collect()
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
