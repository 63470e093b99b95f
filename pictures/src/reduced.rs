//! JPEG files that are decoded at a quarter or an eighth of their size, by inverse transforms that yield 2 by 2 or 1 by 1
//! samples of each block of 8 by 8.
//!
//! Half the size is not used: the decoder for it is slower than the one for the whole image, which has faster transforms.

use std::io::BufRead;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};
use mbvc_runtime::{Filter, Framing};

/// The decoded image is at least this many times as high and as wide as what it is scaled to.
const LEAST: usize = 2;

/// What an image is decoded for.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub framing: Framing,
    /// Shape of the network's input: `[height, width, channels]`.
    pub input: [usize; 3],
}

impl Target {
    /// The divisor of the size of an image, 8 or 4; `None` if it is too small for them. `size`: `[height, width]`.
    fn divisor(&self, size: [usize; 2]) -> Option<usize> {
        // The other filters read single pixels, which a reduced image does not have.
        if !matches!(self.framing.filter, Filter::Bilinear | Filter::Bicubic) {
            return None;
        }
        let [height, width, _] = self.input;
        let scaled = self.framing.scaled(size, [height, width]);
        [8, 4].into_iter().find(|divisor| (0..2).all(|axis| size[axis] / divisor >= LEAST * scaled[axis]))
    }
}

/// Decodes a JPEG file whose blocks are decoded one after the other. Returns `None` if the image is too small, or anything
/// else prevents it: the whole image is then to be decoded, which also reports errors.
pub fn decode(file: &mut dyn BufRead, target: Target) -> Option<DynamicImage> {
    // The decoder reads byte by byte.
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let mut decoder = Decoder::new(&*bytes);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    let orientation = decoder.exif_data().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let is_turned = matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    let divisor = target.divisor(if is_turned { [width, height] } else { [height, width] })?;
    let [width, height] = [width, height].map(|side| side.div_ceil(divisor) as u16);
    let reduced = decoder.scale(width, height).ok()?;
    if reduced != (width, height) {
        return None;
    }
    let pixels = decoder.decode().ok()?;
    let pixels = match info.pixel_format {
        PixelFormat::RGB24 => pixels,
        PixelFormat::L8 => pixels.into_iter().flat_map(|gray| [gray; 3]).collect(),
        // CMYK and 16 bits.
        _ => return None,
    };
    let mut image = RgbImage::from_raw(width.into(), height.into(), pixels).map(DynamicImage::from)?;
    image.apply_orientation(orientation);
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reduced_image_is_twice_as_large_as_the_scaled_one() {
        let divisor = |framing: &str, size| {
            Target { framing: Framing::parse(framing).unwrap(), input: [224, 224, 3] }.divisor(size)
        };
        assert_eq!(divisor("squash bilinear", [3584, 3584]), Some(8));
        assert_eq!(divisor("squash bilinear", [3583, 9000]), Some(4));
        assert_eq!(divisor("squash bicubic", [1792, 1792]), Some(4));
        assert_eq!(divisor("squash bilinear", [9000, 1791]), None);
        // Scaled to 256 by 341 pixels before it is cropped.
        assert_eq!(divisor("crop 256/224 bilinear", [2048, 2728]), Some(4));
        assert_eq!(divisor("crop 256/224 bilinear", [2047, 2728]), None);
        assert_eq!(divisor("squash nearest", [9000, 9000]), None);
        assert_eq!(divisor("squash bilinear-aliased", [9000, 9000]), None);
    }
}
