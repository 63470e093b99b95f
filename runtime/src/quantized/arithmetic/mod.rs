//! The arithmetic of quantized layers, bit for bit that of the kernels it is named after.
//!
//! A quantized value `q` stands for `scale * (q - zero_point)`. All values are taken and given as `i32`, in the range of
//! their own type: -128..=127 or 0..=255. What depends on scales alone (multipliers, shifts) is computed once, when
//! weights are packed, by the `new` of [`Requantize`], [`Add`], [`Pool`] and [`Softmax`]; their `apply` is what is done
//! to each element. Kernels of an instruction set must give the same bits as these.
//!
//! Everything is integer arithmetic, or single IEEE 754 operations without fusing, so that every target agrees.

mod add;
mod fixed;
mod float;
mod pool;
mod requantize;
mod softmax;
#[cfg(test)]
mod tests;

pub use add::Add;
pub(crate) use add::LEFT_SHIFT;
pub use fixed::Fixed;
pub(crate) use float::round_ties_even;
pub use pool::{Pool, PoolKind};
pub use requantize::Requantize;
pub use softmax::Softmax;

/// Whose kernels are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// XNNPACK's, which LiteRT runs by default: float32 multipliers, ties to even.
    Xnnpack,
    /// TensorFlow Lite's reference kernels: gemmlowp's 32-bit fixed-point multipliers, rounded twice.
    TfliteReference,
}

/// The type of quantized values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integer {
    /// -128..=127.
    Int8,
    /// 0..=255.
    Uint8,
}

impl Integer {
    /// Least and greatest value.
    pub const fn limits(self) -> Limits {
        match self {
            Self::Int8 => Limits { low: -128, high: 127 },
            Self::Uint8 => Limits { low: 0, high: 255 },
        }
    }
}

/// What a value stands for: `scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quant {
    scale: f32,
    zero_point: i32,
}

impl Quant {
    /// `None` where the scale is no normal number above 0, or the zero point none of the type.
    pub fn new(scale: f32, zero_point: i32, integer: Integer) -> Option<Self> {
        let Limits { low, high } = integer.limits();
        (is_scale(scale) && (low..=high).contains(&zero_point)).then_some(Self { scale, zero_point })
    }

    /// The real number that a step stands for.
    pub const fn scale(self) -> f32 {
        self.scale
    }

    /// The quantized value that stands for 0.
    pub const fn zero_point(self) -> i32 {
        self.zero_point
    }
}

/// Whether a number can be a scale: finite, above 0, and not subnormal, which the multipliers would lose.
pub fn is_scale(scale: f32) -> bool {
    scale.is_normal() && scale > 0.0
}

/// What results are clamped to, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The least result.
    pub low: i32,
    /// The greatest result.
    pub high: i32,
}

impl Limits {
    /// Those of values of a type after `max(x, 0)`, and after `min(x, 6)` if `six`.
    pub fn activated(integer: Integer, quant: Quant, six: bool, rounding: Rounding) -> Self {
        let Self { low, high } = integer.limits();
        let upper = || {
            let steps = 6.0 / quant.scale;
            let steps = match rounding {
                Rounding::Xnnpack => float::round_ties_even(steps.min(512.0)),
                // `TfLiteRound`: halves away from zero.
                Rounding::TfliteReference => (f64::from(steps.min(512.0)) + 0.5) as i32,
            };
            high.min(quant.zero_point + steps)
        };
        Self { low: low.max(quant.zero_point), high: if six { upper() } else { high } }
    }

    /// `value`, or the limit that it lies beyond.
    pub const fn clamp(self, value: i32) -> i32 {
        if value < self.low {
            self.low
        } else if value > self.high {
            self.high
        } else {
            value
        }
    }
}
