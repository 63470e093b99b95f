//! Decodes image files, applies their orientation, and frames them for a network.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbaImage};

use mbvc::Rgb;
use mbvc::picture::Framing;

use crate::crops::crop;
use crate::error::{CliError, Result};
use crate::jpeg;

/// Limit of the number of pixels, that of Pillow: a small file can decode to terabytes.
const MAX_PIXELS: u64 = 178_956_970;

/// Limit of the memory of a decoder: the largest image with four 16-bit samples per pixel.
const MAX_BYTES: u64 = MAX_PIXELS * 8;

/// Extensions of the image files that are found in folders.
pub const EXTENSIONS: [&str; 5] = ["bmp", "jpeg", "jpg", "png", "webp"];

/// Decodes `path` and frames it for an input of `size` (`[height, width]`). Returns interleaved RGB bytes.
///
/// Orientation is applied and alpha dropped first, as Pillow's `ImageOps.exif_transpose(image).convert("RGB")` does.
///
/// # Errors
/// If the file cannot be read, is not a BMP, JPEG, PNG or WebP image, is damaged, or exceeds the limits.
pub fn load(path: &Path, framing: Framing, size: [usize; 2]) -> Result<Vec<u8>> {
    Ok(framing.frame(&photo(path)?, size))
}

/// As [`load`], composited on white: icons are made for light backgrounds, and the color of their transparent pixels is
/// mostly black.
///
/// # Errors
/// As [`load`].
pub fn load_icon(path: &Path, framing: Framing, size: [usize; 2]) -> Result<Vec<u8>> {
    let icon = decode(open(path)?, path)?;
    let photo = if icon.color().has_alpha() {
        let mut paper = RgbaImage::from_pixel(icon.width(), icon.height(), image::Rgba([255; 4]));
        image::imageops::overlay(&mut paper, &icon.into_rgba8(), 0, 0);
        DynamicImage::from(paper)
    } else {
        icon
    };
    Ok(framing.frame(&rgb(photo, path)?, size))
}

/// As [`load`], for the bytes of an embedded file; `name` is used in errors.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(bytes: &'static [u8], name: &str, framing: Framing, size: [usize; 2]) -> Result<Vec<u8>> {
    let photo = rgb(decode(Cursor::new(bytes), Path::new(name))?, Path::new(name))?;
    Ok(framing.frame(&photo, size))
}

/// As [`load`]; returns the whole image, then `crops` random crops of it.
///
/// # Errors
/// As [`load`].
pub fn load_views(path: &Path, framing: Framing, size: [usize; 2], crops: usize) -> Result<Vec<Vec<u8>>> {
    let photo = photo(path)?;
    let mut views = vec![framing.frame(&photo, size)];
    views.extend((0..crops).map(|number| framing.frame(&crop(&photo, number), size)));
    Ok(views)
}

fn photo(path: &Path) -> Result<Rgb<'static>> {
    rgb(decode(open(path)?, path)?, path)
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let failed = |cause| CliError::io("read", path, &cause);
    // Before the file is opened: a pipe blocks, and a device may have no end.
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        let error = |what| CliError::new(format!("cannot read {}: it is {what}", path.display()));
        return Err(match about.is_dir() {
            true => error("a folder"),
            false => error("not a regular file").help("save the image to a file"),
        });
    }
    File::open(path).map(BufReader::new).map_err(failed)
}

fn rgb(image: DynamicImage, path: &Path) -> Result<Rgb<'static>> {
    let rgb = image.into_rgb8();
    let size = [rgb.height(), rgb.width()].map(|side| side as usize);
    Rgb::new(rgb.into_raw(), size).map_err(|cause| CliError::new(format!("{}: {cause}", path.display())))
}

fn decode(mut file: impl BufRead + Seek, path: &Path) -> Result<DynamicImage> {
    let failed = |cause: std::io::Error| CliError::io("read", path, &cause);
    if file.fill_buf().map_err(failed)?.starts_with(jpeg::MAGIC) {
        if !jpeg::is_complete(&mut file).map_err(failed)? {
            return Err(CliError::new(format!("cannot decode {}: the JPEG data has no end marker", path.display()))
                .help("the file is truncated; copy or download it again"));
        }
        file.rewind().map_err(failed)?;
    }
    let mut reader =
        ImageReader::new(file).with_guessed_format().map_err(|cause| CliError::io("read", path, &cause))?;
    // The content decides the format, not the name.
    match reader.format() {
        Some(ImageFormat::Bmp | ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP) => {}
        _ => {
            return Err(CliError::new(format!("{} is not an image of a supported format", path.display()))
                .help("supported formats: JPEG, PNG, BMP and WebP, with any extension"));
        }
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);

    let damaged = |cause: image::ImageError| match cause {
        image::ImageError::Limits(_) => too_large(path, None),
        cause => CliError::new(format!("cannot decode {}: {cause}", path.display()))
            .help("the file may be truncated or damaged; check it in an image viewer"),
    };
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(too_large(path, Some((width, height))));
    }
    if width == 0 || height == 0 {
        return Err(CliError::new(format!("{} has no pixels ({width}x{height})", path.display()))
            .help("copy or export the image again"));
    }
    // An invalid orientation is ignored, as image viewers do.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn too_large(path: &Path, size: Option<(u32, u32)>) -> CliError {
    let size = size.map_or_else(|| "too many".to_owned(), |(width, height)| format!("{width}x{height}"));
    CliError::new(format!("{} has {size} pixels, the limit is {MAX_PIXELS}", path.display()))
        .help("shrink it with an image editor first")
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
