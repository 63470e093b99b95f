//! Weights for the fast inner product, and the rule that finds their scale.
//!
//! Two products become one product and two sums (S. Winograd, "A new algorithm for inner product", IEEE Transactions
//! on Computers C-17, 1968):
//!
//! ```text
//! x*w1 + y*w2 = ((x + s*w2) * (y + s*w1) - x*y - s*s*w1*w2) / s
//! ```
//!
//! The sum of `s*s*w1*w2` is a constant and goes into the bias; the sum of `x*y` is one number per pixel for all output
//! channels; the division is by a power of two. Products are grouped in triples `k, k + K/3, k + 2K/3`: the first two
//! are a pair, the third is a plain product. This ratio fits a processor that issues two additions and two
//! multiply-adds per cycle. `K mod 3` plain products follow.
//!
//! Rounding errors grow with `(|x| + s*|w|)^2 / s`, which is least at `s = |x| / |w|`. Every output channel has
//! its own scale, the power of two next to the ratio of the root mean squares of its inputs and its weights. The
//! weights are known. The inputs are estimated: an activation that is bounded by 6 has a root mean square of about 1,
//! and the output of a linear layer is modeled as a sum of independent products. A factor of four either way costs
//! accuracy little; the estimate is within that on trained networks.

use core::ops::Range;

use super::{OutputRange, Values};
use crate::preprocess::Preprocess;

/// Unit roundoff of float32.
const ROUNDOFF: f64 = 1.0 / (1u32 << 24) as f64;

/// Largest error, relative to a layer's output, of a layer that is packed for the fast inner product. Tests check that
/// the error of logits is then below 1e-4 of the largest.
const TOLERANCE: f64 = 1.0 / (1u32 << 15) as f64;

/// Estimate of a layer's input: its mean square.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    square: f64,
    /// Mean square of the value that the next residual adds.
    residual: f64,
}

impl Estimate {
    /// Estimate of an image whose pixels are distributed uniformly.
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

    /// Propagates the estimate from a layer's input to its output.
    pub fn follow(&mut self, values: &Values<'_>) {
        let layer = values.layer;
        if layer.begins_residual {
            self.residual = self.square;
        }
        let sums = self.sums(values);
        self.square = match layer.range {
            OutputRange::Linear => sums,
            OutputRange::Relu => sums / 2.0,
            OutputRange::Relu6 => f64::min(sums / 2.0, 1.0),
        };
        if layer.adds_residual {
            self.square += self.residual;
        }
    }

    /// The mean square of the layer's sums: those of independent products.
    fn sums(&self, values: &Values<'_>) -> f64 {
        (squares(values.bias) + self.square * values.squares()) / values.layer.n as f64
    }

    /// Whether the expected rounding error is small relative to the layer's output.
    ///
    /// The accumulator of a channel with root mean square `w` climbs to `K/3 * (x^2 + s^2 w^2)` and is rounded `2K/3`
    /// times on the way; each rounding is uniform, so their squares add up. With `s = x / w` that is `2K/3 * x * w`
    /// after the division.
    pub fn allows(&self, values: &Values<'_>) -> bool {
        let layer = values.layer;
        let (sums, k) = (self.sums(values), layer.k as f64);
        let output = match layer.range {
            OutputRange::Relu6 => f64::min(sums, 36.0),
            OutputRange::Linear | OutputRange::Relu => sums,
        };
        let weights = values.squares() / values.weight.len().max(1) as f64;
        let climb = 2.0 * k / 3.0;
        let error = climb * climb * self.square * weights * (ROUNDOFF * ROUNDOFF / 3.0) * climb;
        error.is_finite() && error <= TOLERANCE * TOLERANCE * output
    }

    /// Packs the columns of one panel: `[1 + 1 + k][width]`, a row of `1 / s`, the bias row, then for each triple the
    /// second of the pair, the first, the third; then the rest.
    pub fn pack(&self, values: &Values<'_>, columns: Range<usize>, width: usize, panel: &mut [f32]) {
        let (k, n, used) = (values.layer.k, values.layer.n, columns.len());
        let third = k / 3;
        let row = |k: usize| &values.weight[k * n..][columns.clone()];
        // Row by row, in the order of the weights.
        let (mut sums, mut pairs) = ([0.0_f64; WIDEST], [0.0_f64; WIDEST]);
        for k in 0..k {
            for (sum, weight) in sums.iter_mut().zip(row(k)) {
                let weight = f64::from(f32::from_le_bytes(*weight));
                *sum += weight * weight;
            }
        }
        let scales = sums.map(|sum| self.scale(sum / k as f64));
        let (head, rows) = panel.split_at_mut(2 * width);
        let (triples, rest) = rows.split_at_mut(3 * third * width);
        let scaled = |to: &mut [f32], k: usize| {
            for ((to, weight), scale) in to.iter_mut().zip(row(k)).zip(scales) {
                *to = scale * f32::from_le_bytes(*weight);
            }
        };
        for (k, triple) in triples.chunks_exact_mut(3 * width).enumerate() {
            let (second, others) = triple.split_at_mut(width);
            let (first, other) = others.split_at_mut(width);
            scaled(second, k + third);
            scaled(first, k);
            scaled(other, k + 2 * third);
            for ((pair, first), second) in pairs.iter_mut().zip(&*first).zip(&*second) {
                *pair += f64::from(*first) * f64::from(*second);
            }
        }
        for (at, row) in rest.chunks_exact_mut(width).take(k - 3 * third).enumerate() {
            scaled(row, 3 * third + at);
        }
        for (lane, column) in columns.clone().enumerate().take(used) {
            head[lane] = 1.0 / scales[lane];
            head[width + lane] = (f64::from(scales[lane]) * f64::from(values.bias(column)) - pairs[lane]) as f32;
        }
    }

    /// Returns the power of two nearest to the ratio of the root mean squares of input and column. `square` is the mean
    /// square of the column.
    fn scale(&self, square: f64) -> f32 {
        let ratio = self.square / square;
        if ratio.is_normal() { power_of_two(half_log2(ratio).clamp(-LIMIT, LIMIT)) } else { 1.0 }
    }
}

/// Channels of the widest panel: a vector.
const WIDEST: usize = 16;

/// Returns the sum of squares, accumulated in lanes so that the loop is vectorized.
pub(super) fn squares(floats: &[[u8; 4]]) -> f64 {
    let mut lanes = [0.0_f64; WIDEST];
    for floats in floats.chunks(WIDEST) {
        for (lane, float) in lanes.iter_mut().zip(floats) {
            let value = f64::from(f32::from_le_bytes(*float));
            *lane += value * value;
        }
    }
    lanes.iter().sum()
}

/// Scales beyond `2^LIMIT` occur only for weights that are practically zero.
const LIMIT: i32 = 24;

/// Returns half of the binary logarithm of a positive, normal number, rounded to an integer.
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
