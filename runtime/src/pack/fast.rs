//! Weights for the fast inner product, and the rule that finds their scale.
//!
//! Two products become one product and two sums (S. Winograd, "A new algorithm for inner product", IEEE Transactions
//! on Computers C-17, 1968):
//!
//! ```text
//! x*w1 + y*w2 = ((x + s*w2) * (y + s*w1) - x*y - s*s*w1*w2) / s
//! ```
//!
//! The sum of `s*s*w1*w2` is a constant and goes into the bias; the sum of `x*y` is one number per pixel, whatever the
//! output channel; the division is by a power of two. Products are taken in triples `k, k + K/3, k + 2K/3`: the first
//! two are a pair, the third is a plain product, because a processor that adds beside its multiplications has room for
//! just that many additions. `K mod 3` plain products follow.
//!
//! Rounding errors grow with `(|x| + s*|w|)^2 / s`, which is least at `s = |x| / |w|`. Every output channel has a
//! scale of its own, the power of two next to the ratio of the root mean squares of its inputs and its weights. The
//! weights are known. The inputs are estimated: an activation that is bounded by 6 has a root mean square of about 1,
//! and what a linear layer makes is taken for a sum of independent products. A factor of four either way costs
//! accuracy little; the estimate is within that on trained networks.

use core::ops::Range;

use super::{Range as Made, Values};
use crate::preprocess::Preprocess;

/// Unit roundoff of float32.
const ROUNDOFF: f64 = 1.0 / (1u32 << 24) as f64;

/// The largest error, relative to the values that a layer makes, with which it is still packed for the fast inner
/// product. A network's logits then keep an error below 1e-4 of the largest, as tests hold.
const TOLERANCE: f64 = 1.0 / (1u32 << 15) as f64;

/// What is known of a layer's input before anything ran: its mean square.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    square: f64,
    /// That of the value that the next residual adds.
    residual: f64,
}

impl Estimate {
    /// Of an image whose pixels are spread evenly over their range.
    pub fn of_image(preprocess: &Preprocess) -> Self {
        let channels = preprocess.scale.iter().zip(preprocess.offset);
        let squares = channels.map(|(scale, offset)| {
            let (range, offset) = (255.0 * f64::from(*scale), f64::from(offset));
            let mean = offset + range / 2.0;
            mean * mean + range * range / 12.0
        });
        let square = squares.sum::<f64>() / 3.0;
        Self { square, residual: square }
    }

    /// From a layer's input to its output.
    pub fn follow(&mut self, values: &Values<'_>) {
        let layer = values.layer;
        if layer.begins_residual {
            self.residual = self.square;
        }
        let sums = self.sums(values);
        self.square = match layer.range {
            Made::Linear => sums,
            Made::Relu => sums / 2.0,
            Made::Relu6 => f64::min(sums / 2.0, 1.0),
        };
        if layer.adds_residual {
            self.square += self.residual;
        }
    }

    /// The mean square of the layer's sums: those of independent products.
    fn sums(&self, values: &Values<'_>) -> f64 {
        let squares = |floats: &[[u8; 4]]| -> f64 {
            floats.iter().map(|float| f64::from(f32::from_le_bytes(*float))).map(|value| value * value).sum()
        };
        (squares(values.bias) + self.square * squares(values.weight)) / values.layer.n as f64
    }

    /// Whether the expected rounding error is small beside what the layer makes.
    ///
    /// The accumulator of a channel with root mean square `w` climbs to `K/3 * (x^2 + s^2 w^2)` and is rounded `2K/3`
    /// times on the way; each rounding is uniform, so their squares add up. With `s = x / w` that is `2K/3 * x * w`
    /// after the division.
    pub fn allows(&self, values: &Values<'_>) -> bool {
        let layer = values.layer;
        let (sums, k) = (self.sums(values), layer.k as f64);
        let made = match layer.range {
            Made::Relu6 => f64::min(sums, 36.0),
            Made::Linear | Made::Relu => sums,
        };
        let weights: f64 =
            values.weight.iter().map(|float| f64::from(f32::from_le_bytes(*float))).map(|w| w * w).sum::<f64>()
                / values.weight.len().max(1) as f64;
        let climb = 2.0 * k / 3.0;
        let error = climb * climb * self.square * weights * (ROUNDOFF * ROUNDOFF / 3.0) * climb;
        error.is_finite() && error <= TOLERANCE * TOLERANCE * made
    }

    /// Packs the columns of one panel: `[1 + 1 + k][width]`, a row of `1 / s`, the bias row, then for each triple the
    /// second of the pair, the first, the third; then the rest.
    pub fn pack(&self, values: &Values<'_>, columns: Range<usize>, width: usize, panel: &mut [f32]) {
        let k = values.layer.k;
        let third = k / 3;
        for (lane, column) in columns.enumerate() {
            let s = self.scale(values, column);
            let scaled = |k: usize| s * values.weight(k, column);
            let pairs: f64 = (0..third).map(|k| f64::from(scaled(k)) * f64::from(scaled(k + third))).sum();
            let mut row = 0;
            let mut put = |value: f32| {
                panel[row * width + lane] = value;
                row += 1;
            };
            put(1.0 / s);
            put((f64::from(s) * f64::from(values.bias(column)) - pairs) as f32);
            for k in 0..third {
                put(scaled(k + third));
                put(scaled(k));
                put(scaled(k + 2 * third));
            }
            (3 * third..k).for_each(|k| put(scaled(k)));
        }
    }

    /// The power of two next to the ratio of root mean squares of input and column.
    fn scale(&self, values: &Values<'_>, column: usize) -> f32 {
        let k = values.layer.k;
        let squares: f64 = (0..k).map(|k| f64::from(values.weight(k, column))).map(|w| w * w).sum();
        let ratio = self.square * k as f64 / squares;
        if ratio.is_normal() { power_of_two(half_log2(ratio).clamp(-LIMIT, LIMIT)) } else { 1.0 }
    }
}

/// Scales beyond `2^LIMIT` serve weights that are as good as zero.
const LIMIT: i32 = 24;

/// The whole number next to half of the binary logarithm of a positive, normal number.
fn half_log2(value: f64) -> i32 {
    let exponent = ((value.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    (exponent + 1).div_euclid(2)
}

fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_the_nearest_powers_of_two() {
        for (value, power) in [(1.0, 0), (1.9, 0), (2.1, 1), (4.0, 1), (7.9, 1), (8.1, 2), (0.6, 0), (0.24, -1)] {
            assert_eq!(half_log2(value), power, "{value}");
        }
        assert_eq!(power_of_two(3), 8.0);
        assert_eq!(power_of_two(-2), 0.25);
    }
}
