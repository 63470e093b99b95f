//! Pictures of any size, as interleaved red, green and blue bytes.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// Interleaved red, green and blue bytes, row by row: `[height, width, 3]`.
#[derive(Debug, Clone)]
pub struct Rgb<'a> {
    pixels: Cow<'a, [u8]>,
    size: [usize; 2],
}

impl<'a> Rgb<'a> {
    /// A picture of `size`, `[height, width]`, that borrows or owns its pixels.
    ///
    /// # Errors
    /// If the picture has no pixels, or not three bytes per pixel.
    pub fn new(pixels: impl Into<Cow<'a, [u8]>>, size: [usize; 2]) -> Result<Self, PictureError> {
        let (pixels, [height, width]) = (pixels.into(), size);
        let expected = height.checked_mul(width).and_then(|count| count.checked_mul(3));
        if expected == Some(pixels.len()) && !pixels.is_empty() {
            Ok(Self { pixels, size })
        } else {
            Err(PictureError { size, bytes: pixels.len() })
        }
    }

    /// `[height, width]`, both at least 1.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The pixels, `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The luma of the pixels, `[height, width]`: 0.299 red, 0.587 green and 0.114 blue (ITU-R BT.601) in fixed point,
    /// rounded to nearest, as Pillow's `convert("L")` computes it.
    pub fn luma(&self) -> Vec<u8> {
        let luma = |[red, green, blue]: &[u8; 3]| {
            let sum = 19_595 * u32::from(*red) + 38_470 * u32::from(*green) + 7_471 * u32::from(*blue);
            ((sum + 0x8000) >> 16) as u8
        };
        self.pixels.as_chunks::<3>().0.iter().map(luma).collect()
    }

    /// The pixels, without a copy if the picture owns them.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels.into_owned()
    }
}

/// A type that can be read as red, green and blue bytes.
pub trait Picture {
    /// The upright picture without transparency.
    ///
    /// # Errors
    /// If it has no pixels.
    fn rgb(&self) -> Result<Rgb<'_>, PictureError>;
}

impl Picture for Rgb<'_> {
    fn rgb(&self) -> Result<Rgb<'_>, PictureError> {
        Ok(Rgb { pixels: Cow::Borrowed(&self.pixels), size: self.size })
    }
}

#[cfg(feature = "image")]
impl Picture for image::RgbImage {
    fn rgb(&self) -> Result<Rgb<'_>, PictureError> {
        Rgb::new(&**self, [self.height() as usize, self.width() as usize])
    }
}

/// Alpha is dropped, not composited.
#[cfg(feature = "image")]
impl Picture for image::DynamicImage {
    fn rgb(&self) -> Result<Rgb<'_>, PictureError> {
        match self {
            Self::ImageRgb8(image) => image.rgb(),
            other => Rgb::new(other.to_rgb8().into_raw(), [other.height() as usize, other.width() as usize]),
        }
    }
}

/// A picture has no pixels, or not three bytes per pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureError {
    /// `[height, width]`.
    pub size: [usize; 2],
    /// Number of bytes.
    pub bytes: usize,
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([height, width], bytes) = (self.size, self.bytes);
        if height == 0 || width == 0 {
            return write!(f, "a picture of {width}x{height} has no pixels; expected at least 1x1");
        }
        write!(
            f,
            "{bytes} bytes do not fit a picture of {width}x{height}: expected 3 bytes per pixel, red, green and blue"
        )
    }
}

impl core::error::Error for PictureError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn lengths_are_checked() {
        assert_eq!(Rgb::new(&[1, 2, 3][..], [1, 1]).unwrap().size(), [1, 1]);
        for (bytes, size, expected) in [
            (&[][..], [0, 4], "4x0 has no pixels"),
            (&[1, 2][..], [1, 1], "2 bytes do not fit a picture of 1x1"),
            (&[1, 2, 3][..], [usize::MAX, 2], "3 bytes do not fit a picture of 2x"),
        ] {
            let error = Rgb::new(bytes, size).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn luma_is_that_of_pillow() {
        // `Image.new("RGB", (1, 1), color).convert("L").getpixel((0, 0))`, of Pillow.
        for (color, expected) in [
            ([0, 0, 0], 0),
            ([255, 255, 255], 255),
            ([255, 0, 0], 76),
            ([0, 255, 0], 150),
            ([0, 0, 255], 29),
            ([1, 2, 3], 2),
            ([200, 100, 50], 124),
            ([17, 99, 250], 92),
        ] {
            assert_eq!(Rgb::new(&color[..], [1, 1]).unwrap().luma(), [expected], "{color:?}");
        }
        let grays: Vec<u8> = (0..=255).collect();
        let pixels: Vec<u8> = grays.iter().flat_map(|gray| [*gray; 3]).collect();
        assert_eq!(Rgb::new(pixels, [16, 16]).unwrap().luma(), grays, "gray pixels keep their value");
    }

    #[cfg(feature = "image")]
    #[test]
    fn images_are_pictures() {
        let image = image::RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3]));
        let dynamic = image::DynamicImage::from(image.clone());
        let clear = image::DynamicImage::from(image::RgbaImage::from_pixel(3, 2, image::Rgba([1, 2, 3, 0])));
        for picture in [&image as &dyn Picture, &dynamic, &clear] {
            let rgb = picture.rgb().unwrap();
            assert_eq!((rgb.size(), rgb.pixels()), ([2, 3], &[1, 2, 3].repeat(6)[..]));
        }
        assert!(image::RgbImage::new(0, 4).rgb().is_err());
    }
}
