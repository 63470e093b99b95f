//! Decodes image files, applies their orientation, and frames them for a network.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage, RgbaImage};

use mbvc_runtime::{Framing, Rgb};

use crate::budget::{Budget, Share};
use crate::error::{Error, Result};
use crate::reduced::{self, Target};
use crate::{jpeg, png};

/// Limit of the number of pixels, that of Pillow: a small file can decode to terabytes.
const MAX_PIXELS: u64 = 178_956_970;

/// Limit of the memory that an image takes: its decoder, its pixels, and a copy of them. Formats that need more for a
/// pixel have a lower limit of pixels.
const MAX_MEMORY: u64 = 1 << 30;

/// The memory of all images that are in memory at the same time. A thread waits until its image fits.
static MEMORY: Budget = Budget::new(MAX_MEMORY);

/// Limit of the size of a file, which some decoders read as a whole.
const MAX_FILE: u64 = 1 << 30;

/// Extensions of the image files that are found in folders.
pub const EXTENSIONS: [&str; 5] = ["bmp", "jpeg", "jpg", "png", "webp"];

/// A decoded image.
pub struct Photo {
    rgb: Rgb<'static>,
    /// Taken until the pixels are dropped.
    _memory: Share,
}

impl Photo {
    /// Decodes a file.
    ///
    /// Orientation is applied and alpha dropped, as Pillow's `ImageOps.exif_transpose(image).convert("RGB")` does. Gray of
    /// 16 bits keeps its high byte, like other samples of 16 bits; Pillow clips it at 255.
    ///
    /// # Errors
    /// If the file cannot be read, is not a BMP, JPEG, PNG or WebP image, is damaged, or exceeds the limits.
    pub fn open(path: &Path) -> Result<Self> {
        decode(open(path)?, path, Mode::Plain)?.photo(path)
    }

    /// As [`Photo::open`], but decodes large JPEG files at a quarter or an eighth of their size.
    ///
    /// # Errors
    /// As [`Photo::open`].
    pub fn open_reduced(path: &Path, target: Target) -> Result<Self> {
        decode(open(path)?, path, Mode::Reduced(target))?.photo(path)
    }

    /// As [`Photo::open`], for the bytes of a file; `name` is used in errors.
    ///
    /// # Errors
    /// As [`Photo::open`].
    pub fn from_bytes(bytes: &[u8], name: &Path) -> Result<Self> {
        decode(Cursor::new(bytes), name, Mode::Plain)?.photo(name)
    }

    /// As [`Photo::from_bytes`], but decodes large JPEG files at a quarter or an eighth of their size.
    ///
    /// # Errors
    /// As [`Photo::open`].
    pub fn from_bytes_reduced(bytes: &[u8], name: &Path, target: Target) -> Result<Self> {
        decode(Cursor::new(bytes), name, Mode::Reduced(target))?.photo(name)
    }

    /// The pixels.
    pub fn rgb(&self) -> &Rgb<'static> {
        &self.rgb
    }

    /// Frames the image for an input of the shape `input` (`[height, width, channels]`). Returns interleaved RGB bytes, or
    /// gray ones for one channel, which are converted as by Pillow's `convert("L")` before the image is resized.
    pub fn frame(&self, framing: Framing, input: [usize; 3]) -> Vec<u8> {
        framing.frame(&self.rgb, input)
    }
}

/// Decodes `path` and frames it: [`Photo::open`] and [`Photo::frame`].
///
/// # Errors
/// As [`Photo::open`].
pub fn load(path: &Path, framing: Framing, input: [usize; 3]) -> Result<Vec<u8>> {
    Ok(Photo::open(path)?.frame(framing, input))
}

/// As [`load`], composited on white: icons are made for light backgrounds, and the color of their transparent pixels is
/// mostly black.
///
/// # Errors
/// As [`load`].
pub fn load_icon(path: &Path, framing: Framing, input: [usize; 3]) -> Result<Vec<u8>> {
    let mut icon = decode(open(path)?, path, Mode::Alpha)?;
    if icon.image.color().has_alpha() {
        let mut paper = RgbaImage::from_pixel(icon.image.width(), icon.image.height(), image::Rgba([255; 4]));
        image::imageops::overlay(&mut paper, &icon.image.into_rgba8(), 0, 0);
        icon.image = DynamicImage::from(paper);
    }
    Ok(icon.photo(path)?.frame(framing, input))
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let failed = |cause: std::io::Error| Error::io(path, &cause);
    // Before the file is opened: a pipe blocks, and a device may have no end.
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        let error = |what| Error::new(format!("cannot read {}: it is {what}", path.display()));
        return Err(match about.is_dir() {
            true => error("a folder"),
            false => error("not a regular file").help("save the image to a file"),
        });
    }
    if about.len() > MAX_FILE {
        let message = format!("{} has {} bytes, the limit is {MAX_FILE}", path.display(), about.len());
        return Err(Error::new(message).help("shrink it with an image editor first"));
    }
    File::open(path).map(BufReader::new).map_err(failed)
}

/// A decoded image that may have an alpha channel.
struct Decoded {
    image: DynamicImage,
    memory: Share,
}

impl Decoded {
    fn photo(self, path: &Path) -> Result<Photo> {
        let rgb = self.image.into_rgb8();
        let size = [rgb.height(), rgb.width()].map(|side| side as usize);
        let rgb = Rgb::new(rgb.into_raw(), size);
        let rgb = rgb.map_err(|cause| Error::new(format!("{}: {cause}", path.display())))?;
        Ok(Photo { rgb, _memory: self.memory })
    }
}

/// What is decoded.
#[derive(Clone, Copy)]
enum Mode {
    Plain,
    /// With the alpha channel.
    Alpha,
    /// Possibly less than all pixels.
    Reduced(Target),
}

fn decode(mut file: impl BufRead + Seek, path: &Path, mode: Mode) -> Result<Decoded> {
    let failed = |cause: std::io::Error| Error::io(path, &cause);
    if file.fill_buf().map_err(failed)?.starts_with(jpeg::MAGIC) {
        let jpeg = jpeg::structure(&mut file).map_err(failed)?;
        if !jpeg.is_complete {
            return Err(Error::new(format!("cannot decode {}: the JPEG data has no end marker", path.display()))
                .help("the file is truncated; copy or download it again"));
        }
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.rewind().map_err(failed)?;
        // RGB twice if the image is turned, and the coefficients of 16 bits that the decoder keeps.
        let bytes = 6.max(3 + 2 * u64::from(jpeg.kept_components));
        // Before the decoder is created, which reads the whole file.
        let memory = MEMORY.take(length.saturating_add(jpeg.pixels * bytes).min(MAX_MEMORY));
        if let Mode::Reduced(target) = mode
            && jpeg.kept_components == 0
        {
            if let Some(image) = reduced::decode(&mut file, target) {
                return Ok(Decoded { image, memory });
            }
            file.rewind().map_err(failed)?;
        }
        return decode_image(ImageReader::with_format(file, ImageFormat::Jpeg), path, bytes, Some(memory));
    }
    let reader = ImageReader::new(file).with_guessed_format().map_err(failed)?;
    // The content decides the format, not the name. Bytes of a pixel: RGB twice, and what the decoder keeps.
    match reader.format() {
        Some(ImageFormat::Png) => decode_png(reader.into_inner(), path, matches!(mode, Mode::Alpha)),
        Some(ImageFormat::Bmp) => decode_image(reader, path, 7, None),
        Some(ImageFormat::WebP) => decode_image(reader, path, 11, None),
        _ => Err(Error::new(format!("{} is not an image of a supported format", path.display()))
            .help("supported formats: JPEG, PNG, BMP and WebP, with any extension")),
    }
}

/// Decodes an image that takes `bytes` of memory for each pixel, which `memory` has if it is known beforehand.
fn decode_image(
    reader: ImageReader<impl BufRead + Seek>,
    path: &Path,
    bytes: u64,
    memory: Option<Share>,
) -> Result<Decoded> {
    let limit = MAX_PIXELS.min(MAX_MEMORY / bytes);
    let unreadable = |cause: image::ImageError| match cause {
        image::ImageError::Limits(_) => too_large(path, None, limit),
        cause => damaged(path, &cause),
    };
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let size = decoder.dimensions();
    check_size(path, size, limit)?;
    let memory = memory.unwrap_or_else(|| MEMORY.take(pixels(size) * bytes));
    // An invalid orientation is ignored, as image viewers do.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    Ok(Decoded { image, memory })
}

fn decode_png(mut file: impl BufRead + Seek, path: &Path, alpha: bool) -> Result<Decoded> {
    let unreadable = |cause: ::png::DecodingError| match cause {
        ::png::DecodingError::LimitsExceeded => too_large(path, None, MAX_PIXELS),
        cause => damaged(path, &cause),
    };
    let png = png::Image::open(&mut file).map_err(unreadable)?;
    let (size, orientation) = (png.size(), png.orientation());
    let alpha = alpha && png.has_alpha();
    let bytes = if alpha { 8 } else { 6 };
    check_size(path, size, MAX_PIXELS.min(MAX_MEMORY / bytes))?;
    let memory = MEMORY.take(pixels(size) * bytes);
    let ((width, height), pixels) = (size, png.pixels(alpha).map_err(unreadable)?);
    let image = match alpha {
        true => RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    // As many pixels as the size says.
    let mut image = image.unwrap_or_default();
    image.apply_orientation(orientation);
    Ok(Decoded { image, memory })
}

fn pixels((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

fn check_size(path: &Path, (width, height): (u32, u32), limit: u64) -> Result<()> {
    if pixels((width, height)) > limit {
        return Err(too_large(path, Some((width, height)), limit));
    }
    if width == 0 || height == 0 {
        return Err(Error::new(format!("{} has no pixels ({width}x{height})", path.display()))
            .help("copy or export the image again"));
    }
    Ok(())
}

fn damaged(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::new(format!("cannot decode {}: {cause}", path.display()))
        .help("the file may be truncated or damaged; check it in an image viewer")
}

fn too_large(path: &Path, size: Option<(u32, u32)>, limit: u64) -> Error {
    let size = size.map_or_else(|| "too many".to_owned(), |(width, height)| format!("{width}x{height}"));
    Error::new(format!("{} has {size} pixels, the limit is {limit}", path.display()))
        .help("shrink it with an image editor first")
}

#[cfg(test)]
#[path = "photo_tests.rs"]
mod tests;
