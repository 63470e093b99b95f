//! Requantization: from the 32-bit sums of a convolution to its quantized results.

use super::fixed::Fixed;
use super::float::round_ties_even;
use super::{Limits, Quant, Rounding};

/// Requantization of the sums of one output channel.
///
/// A sum is `bias + sum((input - input zero point) * (weight - weight zero point))`. Its scale is `input scale *
/// weight scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requantize {
    factor: Factor,
    zero_point: i32,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Factor {
    Float(f32),
    Fixed(Fixed),
}

impl Requantize {
    /// `per_tensor`: all channels share one weight scale. TensorFlow Lite then multiplies the scales in f32 instead of
    /// f64.
    ///
    /// XNNPACK: `f32(f32(input * weight) / output)`, in this order of operations.
    pub fn new(
        rounding: Rounding,
        input_scale: f32,
        weight_scale: f32,
        per_tensor: bool,
        output: Quant,
        limits: Limits,
    ) -> Self {
        let product = input_scale * weight_scale;
        let factor = match rounding {
            Rounding::Xnnpack => Factor::Float(product / output.scale()),
            Rounding::TfliteReference => {
                let exact = f64::from(input_scale) * f64::from(weight_scale);
                let product = if per_tensor { f64::from(product) } else { exact };
                Factor::Fixed(Fixed::new(product / f64::from(output.scale())))
            }
        };
        Self { factor, zero_point: output.zero_point(), limits }
    }

    /// Returns the quantized result of a sum.
    #[inline(always)]
    pub fn apply(self, sum: i32) -> i32 {
        let steps = match self.factor {
            // Saturates to 16 bits, since XNNPACK adds the zero point in 16 bits.
            Factor::Float(scale) => round_ties_even((sum as f32 * scale).clamp(-32768.0, 32767.0)),
            Factor::Fixed(factor) => factor.apply(sum),
        };
        self.limits.clamp(steps.saturating_add(self.zero_point))
    }

    /// Returns XNNPACK's multiplier, for vector kernels.
    pub fn scale(self) -> Option<f32> {
        match self.factor {
            Factor::Float(scale) => Some(scale),
            Factor::Fixed(_) => None,
        }
    }

    /// Returns the reference kernels' multiplier, for vector kernels.
    pub fn multiplier(self) -> Option<Fixed> {
        match self.factor {
            Factor::Float(_) => None,
            Factor::Fixed(fixed) => Some(fixed),
        }
    }
}
