//! From a picture of any size to the pixels that a network looks at.

mod framing;
mod guess;
mod resample;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

pub use framing::{Filter, Fit, Framing, FramingError};
pub use guess::{About, Guess, classify, frame};

/// Interleaved red, green and blue bytes, row by row: `[height, width, 3]`.
#[derive(Debug, Clone)]
pub struct Rgb<'a> {
    pixels: Cow<'a, [u8]>,
    size: [usize; 2],
}

impl<'a> Rgb<'a> {
    /// Borrows the pixels of a picture of `size` `[height, width]`, or takes them.
    ///
    /// # Errors
    /// If the picture has no pixel, or not three bytes for each.
    pub fn new(pixels: impl Into<Cow<'a, [u8]>>, size: [usize; 2]) -> Result<Self, PictureError> {
        let (pixels, [height, width]) = (pixels.into(), size);
        let expected = height.checked_mul(width).and_then(|count| count.checked_mul(3));
        if expected == Some(pixels.len()) && !pixels.is_empty() {
            Ok(Self { pixels, size })
        } else {
            Err(PictureError { size, bytes: pixels.len() })
        }
    }

    /// Height and width; neither is 0.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels, without a copy where they were taken.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels.into_owned()
    }
}

/// Whatever can be looked at as red, green and blue bytes.
pub trait Picture {
    /// The pixels, upright, without transparency.
    ///
    /// # Errors
    /// If there are none.
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

/// A picture without pixels, or of another length than its size says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureError {
    /// Height and width.
    pub size: [usize; 2],
    /// Bytes that were given.
    pub bytes: usize,
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([height, width], bytes) = (self.size, self.bytes);
        if height == 0 || width == 0 {
            return write!(f, "a picture of {width}x{height} has no pixels");
        }
        write!(f, "{bytes} bytes are no picture of {width}x{height}: each pixel takes three, red, green and blue")
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
        for (bytes, size, told) in [
            (&[][..], [0, 4], "4x0 has no pixels"),
            (&[1, 2][..], [1, 1], "2 bytes are no picture of 1x1"),
            (&[1, 2, 3][..], [usize::MAX, 2], "3 bytes are no picture of 2x"),
        ] {
            let error = Rgb::new(bytes, size).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
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
