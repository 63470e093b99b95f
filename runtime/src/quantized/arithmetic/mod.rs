//! The arithmetic of quantized layers, bit-exact with the kernels that each [`Rounding`] names.
//!
//! A quantized value `q` represents `scale * (q - zero_point)`. All values are passed as `i32`, in the range of their
//! type: -128..=127 or 0..=255. Multipliers and shifts depend on scales alone. The `new` of [`Requantize`], [`Add`],
//! [`Pool`] and [`Softmax`] computes them once, when weights are packed. Their `apply` is the operation on each
//! element. Kernels of every instruction set must be bit-exact with these functions.
//!
//! All operations are integer operations or single IEEE 754 operations without fusing, so the results are the same on
//! every target.

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

/// Kernels to be bit-exact with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// XNNPACK, the default of LiteRT: float32 multipliers, ties to even.
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
    /// Returns the minimum and the maximum value.
    pub const fn limits(self) -> Limits {
        match self {
            Self::Int8 => Limits { low: -128, high: 127 },
            Self::Uint8 => Limits { low: 0, high: 255 },
        }
    }
}

/// Quantization parameters of a value: it represents `scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quant {
    scale: f32,
    zero_point: i32,
}

impl Quant {
    /// Returns `None` if the scale is not a positive normal number, or the zero point is outside the type's range.
    pub fn new(scale: f32, zero_point: i32, integer: Integer) -> Option<Self> {
        let Limits { low, high } = integer.limits();
        (is_scale(scale) && (low..=high).contains(&zero_point)).then_some(Self { scale, zero_point })
    }

    /// Returns the real size of one step.
    pub const fn scale(self) -> f32 {
        self.scale
    }

    /// Returns the quantized value that represents 0.
    pub const fn zero_point(self) -> i32 {
        self.zero_point
    }
}

/// Whether `scale` is a valid scale: finite, positive, and not subnormal. The multipliers would lose a subnormal
/// scale.
pub fn is_scale(scale: f32) -> bool {
    scale.is_normal() && scale > 0.0
}

/// Inclusive range that results are clamped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Minimum result.
    pub low: i32,
    /// Maximum result.
    pub high: i32,
}

impl Limits {
    /// Returns the limits of values of a type after `max(x, 0)`, and after `min(x, 6)` if `six`.
    pub fn activated(integer: Integer, quant: Quant, six: bool, rounding: Rounding) -> Self {
        let Self { low, high } = integer.limits();
        let upper = || {
            let steps = 6.0 / quant.scale;
            let steps = match rounding {
                Rounding::Xnnpack => float::round_ties_even(steps.min(512.0)),
                // `TfLiteRound` rounds half away from zero.
                Rounding::TfliteReference => (f64::from(steps.min(512.0)) + 0.5) as i32,
            };
            high.min(quant.zero_point + steps)
        };
        Self { low: low.max(quant.zero_point), high: if six { upper() } else { high } }
    }

    /// Clamps `value` to the limits.
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
