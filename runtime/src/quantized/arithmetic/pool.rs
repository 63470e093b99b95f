//! The global average of an image.

use super::fixed::Fixed;
use super::float::round_ties_even;
use super::{Limits, Quant, Rounding};

/// TensorFlow Lite operator that computes the average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// `MEAN`: the result has a separate quantization.
    Mean,
    /// `AVERAGE_POOL_2D`: the result has the quantization of its input, and is the average of the quantized values.
    Average,
}

/// A global pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pool {
    kind: Kind,
    pixels: i32,
    input_zero_point: i32,
    zero_point: i32,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Float(f32),
    Fixed(Fixed),
    Divide,
}

impl Pool {
    /// Returns `None` for more than 2^22 pixels, whose sum may overflow, and for an average whose result has a
    /// different scale or zero point than its input.
    pub fn new(
        rounding: Rounding,
        kind: PoolKind,
        pixels: usize,
        input: Quant,
        output: Quant,
        limits: Limits,
    ) -> Option<Self> {
        let pixels = i32::try_from(pixels).ok().filter(|pixels| (1..=1 << 22).contains(pixels))?;
        let kind = match (kind, rounding) {
            (PoolKind::Average, _) if input != output => return None,
            (PoolKind::Average, _) => Kind::Divide,
            (PoolKind::Mean, Rounding::Xnnpack) => Kind::Float(input.scale() / output.scale() / pixels as f32),
            (PoolKind::Mean, Rounding::TfliteReference) => {
                let Fixed { multiplier, exponent } = Fixed::new(f64::from(input.scale()) / f64::from(output.scale()));
                // The multiplier includes the division, with the maximum of extra bits that fit.
                let bits = (31 - pixels.leading_zeros() as i32).min(31 + exponent).max(0);
                let multiplier = ((i64::from(multiplier) << bits) / i64::from(pixels)) as i32;
                Kind::Fixed(Fixed { multiplier, exponent: exponent - bits })
            }
        };
        let (input_zero_point, zero_point) = (input.zero_point(), output.zero_point());
        Some(Self { kind, pixels, input_zero_point, zero_point, limits })
    }

    /// Returns the average of a channel with the sum `sum` of quantized values. A damaged file can have any sum.
    #[inline(always)]
    pub fn apply(self, sum: i32) -> i32 {
        let centered = sum.wrapping_sub(self.pixels * self.input_zero_point);
        let value = match self.kind {
            Kind::Float(scale) => round_ties_even((centered as f32 * scale).clamp(-32768.0, 32767.0)) + self.zero_point,
            Kind::Fixed(factor) => factor.apply(centered).saturating_add(self.zero_point),
            // Rounds half away from zero.
            Kind::Divide => {
                let half = self.pixels / 2;
                (if sum > 0 { sum.wrapping_add(half) } else { sum.wrapping_sub(half) }) / self.pixels
            }
        };
        self.limits.clamp(value)
    }
}
