//! From pixels to the network's input.

use core::fmt;

/// `input = pixel * scale + offset` for red, green and blue, pixel in 0..=255. For gray pixels, the three values are
/// equal.
///
/// The product is rounded before the sum, so every target computes the same bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocess {
    /// Difference of the inputs of two consecutive pixel values.
    pub scale: [f32; 3],
    /// Input of a pixel value of 0.
    pub offset: [f32; 3],
}

impl Preprocess {
    /// Parses the text that `Display` writes: `scale 0.1 0.1 0.1 offset -1 -1 -1`.
    ///
    /// # Errors
    /// If the text has another form, or a number that is not finite.
    pub fn parse(text: &str) -> Result<Self, PreprocessError> {
        let mut words = text.split_ascii_whitespace();
        let mut triple = |keyword| {
            if words.next() != Some(keyword) {
                return Err(PreprocessError);
            }
            let mut values = [0.0f32; 3];
            for value in &mut values {
                let word = words.next().ok_or(PreprocessError)?;
                *value = word.parse().ok().filter(|v: &f32| v.is_finite()).ok_or(PreprocessError)?;
            }
            Ok(values)
        };
        let found = Self { scale: triple("scale")?, offset: triple("offset")? };
        if words.next().is_some() { Err(PreprocessError) } else { Ok(found) }
    }

    /// Returns the input of one channel of one pixel: 0 is red, 1 green, and any other blue.
    #[inline(always)]
    pub fn value(&self, channel: usize, pixel: u8) -> f32 {
        let channel = channel.min(2);
        f32::from(pixel) * self.scale[channel] + self.offset[channel]
    }

    /// Whether red, green and blue are preprocessed alike, as gray pixels require.
    pub fn is_gray(&self) -> bool {
        let alike = |values: &[f32; 3]| values.iter().all(|value| *value == values[0]);
        alike(&self.scale) && alike(&self.offset)
    }

    /// Converts interleaved RGB pixels `[.., 3]`, or gray pixels `[..]`, to inputs in the same order. If the lengths
    /// differ, the rest of the longer slice is ignored.
    pub fn apply(&self, pixels: &[u8], input: &mut [f32]) {
        for (pixels, values) in pixels.chunks(3).zip(input.chunks_mut(3)) {
            for (channel, (pixel, value)) in pixels.iter().zip(values).enumerate() {
                *value = self.value(channel, *pixel);
            }
        }
    }
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([r, g, b], [x, y, z]) = (self.scale, self.offset);
        write!(f, "scale {r} {g} {b} offset {x} {y} {z}")
    }
}

/// The text is not `scale R G B offset R G B` with six finite numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreprocessError;

impl fmt::Display for PreprocessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must read `scale R G B offset R G B` with six finite numbers")
    }
}

impl core::error::Error for PreprocessError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    const TEXT: &str = "scale 0.007843137 0.007843137 0.007843137 offset -1 -1 -1";

    #[test]
    fn parses_and_applies_the_common_convention() {
        let preprocess = Preprocess::parse(TEXT).unwrap();
        assert_eq!(preprocess, Preprocess { scale: [0.007843137; 3], offset: [-1.0; 3] });
        assert_eq!(preprocess.to_string(), TEXT);
        let mut input = [7.0; 4];
        preprocess.apply(&[0, 255, 51], &mut input);
        assert_eq!(input[0], -1.0);
        assert!((input[1] - 1.0).abs() < 1e-6 && (input[2] + 0.6).abs() < 1e-6);
        assert_eq!(input[3], 7.0);
    }

    #[test]
    fn channels_have_separate_scales_and_offsets() {
        let preprocess = Preprocess { scale: [1.0, 2.0, 4.0], offset: [0.5, 0.25, 0.0] };
        let mut input = [0.0; 6];
        preprocess.apply(&[1, 2, 3, 4, 5, 6], &mut input);
        assert_eq!(input, [1.5, 4.25, 12.0, 4.5, 10.25, 24.0]);
    }

    #[test]
    fn rejects_malformed_text() {
        for text in
            ["", "scale 1 1 1", "offset 0 0 0 scale 1 1 1", "scale 1 1 offset 1 1 1", "scale 1 1 x offset 0 0 0"]
        {
            assert_eq!(Preprocess::parse(text), Err(PreprocessError), "{text}");
        }
        for value in ["nan", "inf", "1e99"] {
            assert!(Preprocess::parse(&TEXT.replacen("-1", value, 1)).is_err(), "{value}");
        }
        assert!(Preprocess::parse(&(TEXT.to_string() + " 1")).is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips_every_bit(bits in any::<[f32; 6]>()) {
            let [a, b, c, d, e, f] = bits.map(|v| if v.is_finite() { v } else { 0.0 });
            let preprocess = Preprocess { scale: [a, b, c], offset: [d, e, f] };
            prop_assert_eq!(Preprocess::parse(&preprocess.to_string()), Ok(preprocess));
        }
    }
}
