//! The part of a picture that a network reads, and its scaling.

use alloc::vec::Vec;
use core::fmt;

use super::filter::Filter;
use super::resample::{Part, Samples, resample};
use super::rgb::Rgb;

/// How a picture of any size is scaled and cropped to the input of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// The part of the picture.
    pub fit: Fit,
    /// The filter that scales it.
    pub filter: Filter,
}

/// The part of a picture that a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The whole picture, with both sides scaled independently: Keras.
    Squash,
    /// The center of the picture, which is first scaled with its aspect ratio so that it just covers `scaled / kept`
    /// times the input: torchvision's `Resize(256)` and `CenterCrop(224)`.
    Crop {
        /// At least `kept`.
        scaled: u16,
        /// At least 1.
        kept: u16,
    },
}

impl Default for Framing {
    fn default() -> Self {
        Self { fit: Fit::Squash, filter: Filter::Bilinear }
    }
}

impl Framing {
    /// Parses the text that `Display` writes: `squash bilinear`, `crop 256/224 bicubic`.
    ///
    /// # Errors
    /// If the text has another form.
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

    /// Size that a picture of the size `picture` is scaled to for an input of the size `size`, before it is cropped; all are
    /// `[height, width]`.
    pub fn scaled(&self, picture: [usize; 2], size: [usize; 2]) -> [usize; 2] {
        match self.fit {
            Fit::Squash => size,
            Fit::Crop { scaled, kept } => {
                let sides = size.map(|side| (side * usize::from(scaled)).div_ceil(usize::from(kept).max(1)).max(side));
                covering(picture, sides)
            }
        }
    }

    /// Returns the pixels that a network with an input of the shape `input`, `[height, width, channels]`, reads. If it has
    /// one channel, the picture is converted to gray before it is scaled.
    pub fn frame(&self, picture: &Rgb<'_>, input: [usize; 3]) -> Vec<u8> {
        let [height, width, channels] = input;
        let size = [height, width];
        let scaled = self.scaled(picture.size(), size);
        let first = [0, 1].map(|axis| middle(scaled[axis] - size[axis]));
        let (from, part) = (picture.size(), Part { first, size });
        match channels {
            1 => resample(Samples::<1> { pixels: &picture.luma(), size: from }, self.filter, scaled, part),
            _ => resample(Samples::<3> { pixels: picture.pixels(), size: from }, self.filter, scaled, part),
        }
    }
}

/// Parses `256/224`.
fn crop(text: &str) -> Option<Fit> {
    let (scaled, kept) = text.split_once('/')?;
    let (scaled, kept) = (scaled.parse().ok()?, kept.parse().ok()?);
    (kept > 0 && scaled >= kept).then_some(Fit::Crop { scaled, kept })
}

/// The smallest size with the aspect ratio of `from` that covers `sides`. The longer side is rounded down.
fn covering(from: [usize; 2], sides: [usize; 2]) -> [usize; 2] {
    let ([height, width], [rows, columns]) = (from, sides);
    if height * columns <= width * rows {
        [rows, (width * rows / height).max(columns)]
    } else {
        [(height * columns / width).max(rows), columns]
    }
}

/// Returns half of the excess, rounded to even as Python's `round` does.
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
    fn text_round_trips() {
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
        // From the documentation of `Resize(256)`: the longer side is int(256 * longer / shorter).
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
        assert_eq!(framing.frame(&picture, [3, 3, 3]), [9; 27]);
        assert_eq!(framing.frame(&picture, [3, 3, 1]), [9; 9]);
    }

    #[test]
    fn crops_keep_the_center() {
        // Four columns, the outer ones white.
        let pixels = [[255; 3], [10; 3], [20; 3], [255; 3]].concat();
        let picture = Rgb::new(pixels, [1, 4]).unwrap();
        let framing = Framing::parse("crop 1/1 bilinear").unwrap();
        assert_eq!(framing.frame(&picture, [1, 2, 3]), [10, 10, 10, 20, 20, 20]);
        assert_eq!(Framing::default().frame(&picture, [1, 4, 3]), picture.pixels());
    }
}
