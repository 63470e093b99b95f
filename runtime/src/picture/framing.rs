//! What part of a picture a network sees, and how it is scaled.

use alloc::vec::Vec;
use core::fmt;

use super::Rgb;
use super::resample::{Part, resample};
use crate::conventions::{ConventionError, read, words};
use crate::formats::container::Header;

/// How a picture of any size is brought to the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// What part of a picture is seen.
    pub fit: Fit,
    /// What each pixel of that part is made of.
    pub filter: Filter,
}

/// What part of a picture is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// All of it, each side scaled by itself: Keras.
    Squash,
    /// The middle of the picture after it was scaled, its proportions kept, to just cover `scaled` pixels for each
    /// `kept` of the network's side: torchvision's `Resize(256)` and `CenterCrop(224)`.
    Crop {
        /// At least `kept`.
        scaled: u16,
        /// At least 1.
        kept: u16,
    },
}

words! {
    /// What a pixel of a scaled picture is made of. But for the last, filters are as wide as the reduction, as Pillow's.
    Filter {
        /// The nearest pixel.
        Nearest = "nearest",
        /// A triangle filter.
        Bilinear = "bilinear",
        /// Keys' cubic filter with a = -1/2.
        Bicubic = "bicubic",
        /// The two nearest pixels, however many are passed over: TensorFlow's `tf.image.resize`.
        BilinearAliased = "bilinear-aliased",
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self { fit: Fit::Squash, filter: Filter::Bilinear }
    }
}

impl Framing {
    /// Reads what [`Framing`]'s `Display` writes: `squash bilinear`, `crop 256/224 bicubic`.
    ///
    /// # Errors
    /// If the text is of another form.
    pub fn parse(text: &str) -> Result<Self, FramingError> {
        let mut words = text.split_ascii_whitespace();
        let fit = match words.next() {
            Some("squash") => Fit::Squash,
            Some("crop") => words.next().and_then(crop).ok_or(FramingError)?,
            _ => return Err(FramingError),
        };
        let filter = words.next().and_then(Filter::from_word).ok_or(FramingError)?;
        if words.next().is_some() { Err(FramingError) } else { Ok(Self { fit, filter }) }
    }

    /// Reads `mbvc.framing`; containers without it were made for squashed pictures.
    pub fn of(header: &Header<'_>) -> Result<Self, ConventionError> {
        if header.metadata("mbvc.framing").is_none() {
            return Ok(Self::default());
        }
        let expected = "`squash FILTER`, or `crop SCALED/KEPT FILTER` with SCALED >= KEPT";
        read(header, "mbvc.framing", expected, |text| Self::parse(text).ok())
    }

    /// The `[height, width, 3]` pixels of `size` that the network sees of a picture.
    pub fn frame(&self, picture: &Rgb<'_>, size: [usize; 2]) -> Vec<u8> {
        let (scaled, first) = match self.fit {
            Fit::Squash => (size, [0, 0]),
            Fit::Crop { scaled, kept } => {
                let sides = size.map(|side| (side * usize::from(scaled)).div_ceil(usize::from(kept).max(1)).max(side));
                let scaled = covering(picture.size(), sides);
                (scaled, [0, 1].map(|axis| middle(scaled[axis] - size[axis])))
            }
        };
        resample(picture, self.filter, scaled, Part { first, size })
    }
}

/// `256/224`.
fn crop(text: &str) -> Option<Fit> {
    let (scaled, kept) = text.split_once('/')?;
    let (scaled, kept) = (scaled.parse().ok()?, kept.parse().ok()?);
    (kept > 0 && scaled >= kept).then_some(Fit::Crop { scaled, kept })
}

/// The least size of the proportions of `from` that covers `sides`; fractions of a pixel of the longer side are cut off.
fn covering(from: [usize; 2], sides: [usize; 2]) -> [usize; 2] {
    let ([height, width], [rows, columns]) = (from, sides);
    if height * columns <= width * rows {
        [rows, (width * rows / height).max(columns)]
    } else {
        [(height * columns / width).max(rows), columns]
    }
}

/// Half of what is left over, halves of a pixel to the even number, as Python's `round`.
fn middle(over: usize) -> usize {
    over / 2 + usize::from(over % 4 == 3)
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fit {
            Fit::Squash => write!(f, "squash {}", self.filter),
            Fit::Crop { scaled, kept } => write!(f, "crop {scaled}/{kept} {}", self.filter),
        }
    }
}

/// The text is neither `squash FILTER` nor `crop SCALED/KEPT FILTER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramingError;

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "must read `squash FILTER` or `crop SCALED/KEPT FILTER`, such as `crop 256/224 bilinear`; a filter is {}",
            Filter::WORDS
        )
    }
}

impl core::error::Error for FramingError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_comes_back() {
        for text in ["squash bilinear", "squash nearest", "crop 256/224 bicubic", "crop 1/1 bilinear-aliased"] {
            assert_eq!(Framing::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "squash",
            "crop bilinear",
            "crop 224/256 bilinear",
            "crop 1/0 nearest",
            "crop 70000/1 nearest",
            "squash lanczos",
            "squash nearest 1",
        ] {
            assert_eq!(Framing::parse(text), Err(FramingError), "{text}");
        }
    }

    #[test]
    fn sizes_are_those_of_torchvision() {
        // Of `Resize(256)`, from its documentation: the longer side is int(256 * longer / shorter).
        assert_eq!(covering([500, 375], [256, 256]), [341, 256]);
        assert_eq!(covering([375, 500], [256, 256]), [256, 341]);
        assert_eq!(covering([300, 300], [256, 256]), [256, 256]);
        assert_eq!(covering([1, 1000], [2, 4]), [2, 2000]);
        // int(round(over / 2.0)) in Python.
        let halves: Vec<usize> = (0..8).map(middle).collect();
        assert_eq!(halves, [0, 0, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn crops_cover_the_network() {
        let framing = Framing { fit: Fit::Crop { scaled: 1, kept: 2 }, ..Framing::default() };
        let picture = Rgb::new(alloc::vec![9; 5 * 4 * 3], [5, 4]).unwrap();
        assert_eq!(framing.frame(&picture, [3, 3]), [9; 27]);
    }

    #[test]
    fn the_middle_is_kept() {
        // Four columns, the outer ones white.
        let pixels = [[255; 3], [10; 3], [20; 3], [255; 3]].concat();
        let picture = Rgb::new(pixels, [1, 4]).unwrap();
        let framing = Framing::parse("crop 1/1 bilinear").unwrap();
        assert_eq!(framing.frame(&picture, [1, 2]), [10, 10, 10, 20, 20, 20]);
        assert_eq!(Framing::default().frame(&picture, [1, 4]), picture.pixels());
    }
}
