//! Rounding and exponentials that `core` does not have.

/// Returns the nearest integer, ties to even, as `cvtps2dq` and `lrintf` do. |`value`| must be at most 2^22.
#[inline(always)]
pub fn round_ties_even(value: f32) -> i32 {
    // 1.5 * 2^23: the sum has no fraction bits.
    const SHIFT: f32 = 12_582_912.0;
    ((value + SHIFT) - SHIFT) as i32
}

/// Returns 2^`exponent`, for exponents of normal numbers.
pub fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}

/// Returns e^`x` for `x` of at most 0, with a relative error of about 2^-51. Rounded to f32, it equals a correctly
/// rounded `expf` except for about one argument in 10^7.
pub fn exp(x: f64) -> f64 {
    // Below this, the result rounds to 0 in f32.
    if x < -104.0 {
        return 0.0;
    }
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let k = (x * core::f64::consts::LOG2_E - 0.5) as i32;
    let r = (x - f64::from(k) * LN2_HIGH) - f64::from(k) * LN2_LOW;
    // |r| <= ln 2 / 2, so the omitted terms are below 2^-57.
    let series = (1..=14).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    series * power_of_two(k)
}
