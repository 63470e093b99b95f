//! Operations between the image and the stem: arithmetic, a reversal of the channels, and copies of a gray image.

use super::chain::Front;
use super::walk::Walk;
use crate::error::{ImportError, Result};
use crate::source::{Node, Op, Value};

/// Channels of the copies of a gray image: red, green and blue of an image without colors.
const COPIES: usize = 3;
/// Largest relative difference of two products of float32 numbers that are equal in exact arithmetic.
const ROUNDING: f64 = 1e-6;

/// The path from the image to the stem.
pub struct Entry {
    /// Arithmetic on the channels of the image, and their order; `None` if there is none.
    pub front: Option<Front>,
    /// Factors of the copies of a gray image that the stem reads.
    pub copies: Option<[f64; COPIES]>,
    /// Value that the stem reads.
    pub output: Value,
}

impl<'g> Walk<'g> {
    /// Reads the operations on the image.
    pub fn entry(&mut self, input: Value) -> Result<Entry> {
        let mut front: Option<Front> = None;
        let mut copied: Option<&Node<'_>> = None;
        let mut value = input;
        while let Some(node) = self.only(value) {
            match &node.op {
                Op::Affine(affine) => {
                    // An operand with one number per color repeats a gray image.
                    if self.channels <= 1 && !affine.fits(1) {
                        copied = (self.channels == 1).then_some(node);
                        self.channels = COPIES;
                    }
                    if self.channels > 1 && !affine.fits(self.channels) {
                        return Err(Self::unexpected(node, "input", "one number, or one per channel"));
                    }
                    let Front { scale, offset, reversed, .. } = front.get_or_insert(Front::new(value));
                    for channel in 0..COPIES {
                        let (Some(by), Some(plus)) = (affine.scale(channel), affine.offset(channel)) else {
                            return Err(Self::unexpected(node, "input", "one number per channel"));
                        };
                        let of_input = if *reversed { COPIES - 1 - channel } else { channel };
                        scale[of_input] *= by;
                        offset[of_input] = offset[of_input] * by + plus;
                    }
                }
                Op::ReverseChannels if self.channels == 3 && copied.is_none() => {
                    front.get_or_insert(Front::new(value)).reversed ^= true;
                }
                Op::Repeat { channels: COPIES } if self.channels <= 1 => {
                    copied = Some(node);
                    self.channels = COPIES;
                }
                _ => break,
            }
            value = node.output;
            if let Some(front) = &mut front {
                front.output = value;
            }
        }
        let Some(copied) = copied else { return Ok(Entry { front, copies: None, output: value }) };
        let Some(front) = &mut front else { return Ok(Entry { front: None, copies: Some([1.0; 3]), output: value }) };
        let copies = factors(front).ok_or_else(|| {
            ImportError::unsupported("the copies of the gray image are normalized by different means")
                .at(copied.place.text())
                .role("input")
                .expected("the same mean for all copies: padding is zero, so that different offsets cannot be folded")
                .found(format!("factors {:?} and offsets {:?}", front.scale, front.offset))
                .help("normalize the image before it is copied to three channels, or with one mean, and export again")
        })?;
        (front.scale, front.offset) = ([front.scale[0]; 3], [front.offset[0]; 3]);
        Ok(Entry { front: Some(*front), copies: Some(copies), output: value })
    }
}

/// Returns the factors `f` with which each copy `c` is `f[c]` times the first one; `None` if there are none.
fn factors(&Front { scale, offset, .. }: &Front) -> Option<[f64; COPIES]> {
    let (first_scale, first_offset) = (scale[0], offset[0]);
    if first_scale == 0.0 {
        return None;
    }
    let factors = scale.map(|scale| scale / first_scale);
    let agrees = |(factor, offset_of_copy): (&f64, &f64)| {
        let expected = factor * first_offset;
        (expected - offset_of_copy).abs() <= ROUNDING * expected.abs().max(offset_of_copy.abs())
    };
    factors.iter().zip(&offset).all(agrees).then_some(factors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_proportional_if_their_means_are_equal() {
        let normalized = |mean: [f64; 3], std: [f64; 3]| {
            let offset = std::array::from_fn(|copy| -mean[copy] / std[copy]);
            factors(&Front { scale: std.map(|std| 1.0 / std), offset, ..Front::new(0) })
        };
        assert_eq!(normalized([0.5; 3], [0.5; 3]), Some([1.0; 3]));
        assert_eq!(normalized([0.5; 3], [0.5, 0.25, 1.0]), Some([1.0, 2.0, 0.5]));
        assert_eq!(normalized([0.0; 3], [0.229, 0.229, 0.458]), Some([1.0, 1.0, 0.5]));
        assert_eq!(normalized([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), None);
        assert_eq!(normalized([0.5, 0.5, 0.0], [0.5; 3]), None);
        assert_eq!(factors(&Front { scale: [0.0; 3], ..Front::new(0) }), None);
    }
}
