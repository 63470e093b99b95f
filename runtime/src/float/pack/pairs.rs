//! Panels of bf16 weights: two rows of the kernel in place of one row of floats.

use core::ops::Range;

use super::{PackError, Values};
use crate::bf16::Bf16;

/// Checks that the weights are in the range of bf16.
///
/// # Errors
/// If a weight is rounded to infinity.
pub(super) fn check<'n>(name: &'n str, weights: &[[u8; 4]]) -> Result<(), PackError<'n>> {
    let is_finite = |weight: &[u8; 4]| Bf16::from_f32(f32::from_le_bytes(*weight)).to_f32().is_finite();
    if weights.iter().all(is_finite) { Ok(()) } else { Err(PackError::BeyondBf16(name)) }
}

/// Packs the columns of one panel: `[1 + rows][width]`, the bias row as floats, then in each row the weights of two
/// products per column, the first in the lower half. The last weight of an odd number is paired with zero.
pub(super) fn pack(values: &Values<'_>, columns: Range<usize>, width: usize, panel: &mut [f32]) {
    let (k, n, factors) = (values.layer.k, values.layer.n, values.layer.factors);
    let (biases, rows) = panel.split_at_mut(width);
    biases.fill(0.0);
    for (to, column) in biases.iter_mut().zip(columns.clone()) {
        *to = values.bias(column);
    }
    let weight = |row: usize, column: usize| match row < k {
        true => Bf16::from_f32(f32::from_le_bytes(values.weight[row * n + column])).to_bits(),
        false => 0,
    };
    for (pair, row) in rows.chunks_exact_mut(width).take(factors.rows(k)).enumerate() {
        row.fill(0.0);
        for (to, column) in row.iter_mut().zip(columns.clone()) {
            let [even, odd] = [2 * pair, 2 * pair + 1].map(|row| u32::from(weight(row, column)));
            *to = f32::from_bits(even | odd << 16);
        }
    }
}
