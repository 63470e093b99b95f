//! The average over an image.

use super::fixed::Fixed;
use super::float::round_ties_even;
use super::{Limits, Quant, Rounding};

/// Which of TensorFlow Lite's two operators averages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// `MEAN`: the result has a quantization of its own.
    Mean,
    /// `AVERAGE_POOL_2D`: the result has its input's, and is the average of the stored numbers.
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
    /// `None` for more than 2^22 pixels, whose sum need not fit, and for an average whose result has another scale or
    /// zero point than its input.
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
                // The division joins the multiplier, with as many more bits as there is room for.
                let bits = (31 - pixels.leading_zeros() as i32).min(31 + exponent).max(0);
                let multiplier = ((i64::from(multiplier) << bits) / i64::from(pixels)) as i32;
                Kind::Fixed(Fixed { multiplier, exponent: exponent - bits })
            }
        };
        let (input_zero_point, zero_point) = (input.zero_point(), output.zero_point());
        Some(Self { kind, pixels, input_zero_point, zero_point, limits })
    }

    /// The average of a channel whose stored numbers sum up to `sum`.
    #[inline(always)]
    pub fn apply(self, sum: i32) -> i32 {
        let centered = sum - self.pixels * self.input_zero_point;
        let value = match self.kind {
            Kind::Float(scale) => round_ties_even((centered as f32 * scale).clamp(-32768.0, 32767.0)) + self.zero_point,
            Kind::Fixed(factor) => factor.apply(centered).saturating_add(self.zero_point),
            // Halves away from zero.
            Kind::Divide => {
                let half = self.pixels / 2;
                (if sum > 0 { sum + half } else { sum - half }) / self.pixels
            }
        };
        self.limits.clamp(value)
    }
}
