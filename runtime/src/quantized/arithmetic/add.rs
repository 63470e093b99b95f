//! The sum of two quantized values with different scales.

use super::fixed::Fixed;
use super::float::{power_of_two, round_ties_even};
use super::{Limits, Quant, Rounding};

/// A residual add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Add {
    kind: Kind,
    zero_point: i32,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `(bias + a * left + b * right) >> shift`. The bias includes the zero points and half a step.
    Shift { left: i32, right: i32, bias: i32, shift: u32 },
    /// Both operands are rescaled to 2^-20 of twice the larger scale.
    Fixed { zero_points: [i32; 2], factors: [Fixed; 2], output: Fixed },
}

/// Left shift of the operands in the reference kernels, before the multiplication.
pub const LEFT_SHIFT: u32 = 20;

impl Add {
    /// Returns `None` if a scale is outside the range that XNNPACK supports: an operand's scale must be at least 2^-10
    /// times and less than 2^8 times the result's scale.
    pub fn new(rounding: Rounding, left: Quant, right: Quant, output: Quant, limits: Limits) -> Option<Self> {
        let ratios = [left, right].map(|operand| operand.scale() / output.scale());
        if !ratios.iter().all(|ratio| (1.0 / 1024.0..256.0).contains(ratio)) {
            return None;
        }
        let kind = match rounding {
            Rounding::Xnnpack => {
                let exponent = (ratios[0].max(ratios[1]).to_bits() >> 23) as i32 - 127;
                let shift = 20 - exponent;
                // Below 2^21 + 1, so exact in f32.
                let [a, b] = ratios.map(|ratio| round_ties_even(ratio * power_of_two(shift) as f32));
                let bias = (1 << (shift - 1)) - a * left.zero_point() - b * right.zero_point();
                Kind::Shift { left: a, right: b, bias, shift: shift as u32 }
            }
            Rounding::TfliteReference => {
                let [a, b, out] = [left, right, output].map(|quant| f64::from(quant.scale()));
                let twice = 2.0 * a.max(b);
                Kind::Fixed {
                    zero_points: [left.zero_point(), right.zero_point()],
                    factors: [Fixed::new(a / twice), Fixed::new(b / twice)],
                    output: Fixed::new(twice / (f64::from(1 << LEFT_SHIFT) * out)),
                }
            }
        };
        Some(Self { kind, zero_point: output.zero_point(), limits })
    }

    /// Returns the multipliers of both operands and the shift, for vector kernels. Returns `None` for the reference
    /// arithmetic.
    pub fn multipliers(self) -> Option<(i32, i32, u32)> {
        match self.kind {
            Kind::Shift { left, right, shift, .. } => Some((left, right, shift)),
            Kind::Fixed { .. } => None,
        }
    }

    /// Returns the reference kernels' multipliers of both operands and of their sum, for vector kernels. All are below
    /// 1. Returns `None` for XNNPACK's arithmetic.
    pub fn fixed(self) -> Option<[Fixed; 3]> {
        match self.kind {
            Kind::Shift { .. } => None,
            Kind::Fixed { factors: [left, right], output, .. } => Some([left, right, output]),
        }
    }

    /// Returns the quantized sum of two values.
    #[inline(always)]
    pub fn apply(self, a: i32, b: i32) -> i32 {
        let steps = match self.kind {
            Kind::Shift { left, right, bias, shift } => (bias + a * left + b * right) >> shift,
            Kind::Fixed { zero_points, factors, output } => {
                let scaled = |value: i32, at: usize| factors[at].apply((value - zero_points[at]) << LEFT_SHIFT);
                output.apply(scaled(a, 0) + scaled(b, 1))
            }
        };
        self.limits.clamp(steps + self.zero_point)
    }
}
