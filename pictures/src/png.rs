//! Decodes PNG files row by row to 8 bits per sample: an image of 16 bits needs no more memory than one of 8.

use image::metadata::Orientation;
use png::{DecodingError, InterlaceInfo, Reader, Transformations};

use crate::Source;

/// An image whose header has been read.
pub struct Image<'f>(Reader<&'f mut dyn Source>);

impl<'f> Image<'f> {
    /// Reads the header and the metadata.
    ///
    /// # Errors
    /// If the file is damaged, or its rows exceed the limit of the memory.
    pub fn open(file: &'f mut dyn Source) -> Result<Self, DecodingError> {
        let mut decoder = png::Decoder::new(file);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        // The high byte of 16 bits, as in Pillow.
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        decoder.read_info().map(Self)
    }

    /// Width and height.
    pub fn size(&self) -> (u32, u32) {
        self.0.info().size()
    }

    /// Whether pixels have an alpha channel, or a transparent color.
    pub fn has_alpha(&self) -> bool {
        matches!(self.0.output_color_type().0, png::ColorType::GrayscaleAlpha | png::ColorType::Rgba)
    }

    /// Orientation in the Exif metadata. An invalid one is ignored, as image viewers do.
    pub fn orientation(&self) -> Orientation {
        let exif = self.0.info().exif_metadata.as_deref();
        exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }

    /// Decodes the pixels as RGB or, with `alpha`, as RGBA.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn pixels(mut self, alpha: bool) -> Result<Vec<u8>, DecodingError> {
        let channels = if alpha { 4 } else { 3 };
        let (width, height) = self.size();
        let stride = width as usize * channels;
        let samples = self.0.output_color_type().0.samples();
        let mut pixels = vec![0; stride * height as usize];
        let mut converted = vec![0; stride];
        let mut line = 0;
        while let Some(row) = self.0.next_interlaced_row()? {
            let converted = &mut converted[..row.data().len() / samples * channels];
            for (to, from) in converted.chunks_exact_mut(channels).zip(row.data().chunks_exact(samples)) {
                convert(from, to);
            }
            match row.interlace() {
                InterlaceInfo::Null(_) => {
                    pixels[line * stride..][..stride].copy_from_slice(converted);
                    line += 1;
                }
                InterlaceInfo::Adam7(place) => {
                    png::expand_interlaced_row(&mut pixels, stride, converted, place, 8 * channels as u8);
                }
            }
        }
        Ok(pixels)
    }
}

/// Converts a pixel of one to four samples (gray, gray and alpha, RGB, RGBA) to RGB or RGBA.
fn convert(from: &[u8], to: &mut [u8]) {
    let (rgb, alpha) = match *from {
        [gray] => ([gray; 3], u8::MAX),
        [gray, alpha] => ([gray; 3], alpha),
        [red, green, blue] => ([red, green, blue], u8::MAX),
        [red, green, blue, alpha] => ([red, green, blue], alpha),
        _ => return,
    };
    let [red, green, blue] = rgb;
    match to {
        [r, g, b] => [*r, *g, *b] = [red, green, blue],
        [r, g, b, a] => [*r, *g, *b, *a] = [red, green, blue, alpha],
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat};

    use super::*;

    /// All color types and depths of the encoder, decoded by another decoder too.
    #[test]
    fn pixels_are_those_of_the_whole_image() {
        let noise = |x: u32, y: u32, at: u32| ((x * 7919 + y * 104_729 + at * 15_485_863) >> 3) as u16;
        let rgba = image::ImageBuffer::from_fn(19, 13, |x, y| image::Rgba([0, 1, 2, 3].map(|at| noise(x, y, at))));
        let whole = DynamicImage::ImageRgba16(rgba);
        // The high byte, which is not what the conversions of `image` round to.
        let high = |image: DynamicImage| {
            let mut image = image.into_rgba16();
            image.iter_mut().for_each(|sample| *sample = (*sample >> 8) * 257);
            DynamicImage::ImageRgba16(image)
        };
        let images = [
            DynamicImage::ImageRgb16(whole.to_rgb16()),
            DynamicImage::ImageLuma16(whole.to_luma16()),
            DynamicImage::ImageLumaA16(whole.to_luma_alpha16()),
            DynamicImage::ImageRgb8(whole.to_rgb8()),
            DynamicImage::ImageRgba8(whole.to_rgba8()),
            DynamicImage::ImageLuma8(whole.to_luma8()),
            DynamicImage::ImageLumaA8(whole.to_luma_alpha8()),
            whole,
        ];
        for image in images {
            let mut file = Cursor::new(Vec::new());
            image.write_to(&mut file, ImageFormat::Png).unwrap();
            let expected = high(image::load_from_memory(file.get_ref()).unwrap());
            for alpha in [false, true] {
                file.set_position(0);
                let decoder = Image::open(&mut file).unwrap();
                assert_eq!((decoder.size(), decoder.has_alpha()), ((19, 13), image.color().has_alpha()));
                let expected = if alpha { expected.to_rgba8().into_raw() } else { expected.to_rgb8().into_raw() };
                assert!(decoder.pixels(alpha).unwrap() == expected, "{:?}, alpha {alpha}", image.color());
            }
        }
    }
}
