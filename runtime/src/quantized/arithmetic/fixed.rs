//! gemmlowp's fixed-point multiplication, as in TensorFlow Lite's reference kernels (`QuantizeMultiplier` and
//! `MultiplyByQuantizedMultiplier` of `tflite/kernels/internal`, gemmlowp's `SaturatingRoundingDoublingHighMul` and
//! `RoundingDivideByPOT`).

/// A real factor: `multiplier * 2^(exponent - 31)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// In 2^30..2^31, or 0.
    pub multiplier: i32,
    /// In -31..=30.
    pub exponent: i32,
}

impl Fixed {
    /// Returns the nearest factor to a positive normal number. A number below 2^-32 becomes 0.
    pub fn new(factor: f64) -> Self {
        const FRACTION: u64 = (1 << 52) - 1;
        let bits = factor.to_bits();
        // The fraction is in 0.5..1, as in `frexp`.
        let mut exponent = (bits >> 52 & 0x7ff) as i32 - 1022;
        let fraction = f64::from_bits(bits & FRACTION | 1022 << 52);
        let mut multiplier = (fraction * 2_147_483_648.0 + 0.5) as i64;
        if multiplier == 1 << 31 {
            multiplier >>= 1;
            exponent += 1;
        }
        if exponent < -31 {
            return Self { multiplier: 0, exponent: 0 };
        }
        if exponent > 30 {
            return Self { multiplier: i32::MAX, exponent: 30 };
        }
        Self { multiplier: multiplier as i32, exponent }
    }

    /// Returns `value` times the factor, rounded after the product and again after the shift.
    #[inline(always)]
    pub fn apply(self, value: i32) -> i32 {
        let shifted = value.wrapping_shl(self.exponent.max(0) as u32);
        divide_by_power(high_mul(shifted, self.multiplier), 0_i32.saturating_sub(self.exponent).max(0))
    }
}

/// Returns `2 * a * b / 2^32`, rounded to nearest, halves up. Saturates.
#[inline(always)]
fn high_mul(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// Returns `value / 2^exponent`, rounded half away from zero. The exponent is in 0..=31. An exponent from a damaged
/// file is reduced modulo 32.
#[inline(always)]
fn divide_by_power(value: i32, exponent: i32) -> i32 {
    let exponent = exponent & 31;
    let mask = ((1_i64 << exponent) - 1) as i32;
    let threshold = (mask >> 1) + i32::from(value < 0);
    (value >> exponent) + i32::from(value & mask > threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrupt_exponents_do_not_panic() {
        for exponent in [i32::MIN, -64, -33, 33, i32::MAX] {
            for value in [i32::MIN, -1, 0, i32::MAX] {
                // The result is unspecified, but the call must not panic in builds with overflow checks.
                let _ = std::hint::black_box(Fixed { multiplier: 1 << 30, exponent }).apply(value);
            }
        }
        assert_eq!(Fixed { multiplier: 1 << 30, exponent: -1 }.apply(400), 100);
    }
}
