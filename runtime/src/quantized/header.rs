//! The header of a packed layer: two cache lines of integers before its weights.

use core::ops::Range;

use crate::quantized::arithmetic::{Add, Fixed, Integer, Limits, Pool, PoolKind, Quant, Rounding};
use crate::simd::{Area, Src};

/// Bytes of a header; offsets of its integers below. Kernels read it through `simd::quantized::range`, `addends`
/// and `fixed_addends`.
pub const HEADER: usize = 128;

/// The layer's results: zero point and limits.
pub const RANGE: usize = 0;
/// Whether the layer's sums exceed the range in which `BIAS` can be added to them.
const GENERAL: usize = 12;
/// The residual add: multiplier of the residual, multiplier of the projection, bias, shift, limits of the projection
/// minus its zero point.
pub const ADDENDS: usize = 16;
/// Zero point of the layer's input, the value of padding.
pub const PADDING: usize = 40;
/// The average of the results: kind, scale and zero point of the results, scale and zero point of the average.
const POOL: usize = 44;
/// The residual add of the reference kernels: zero point and factor of the residual, limits of the projection minus its
/// zero point, its factor, the factor of the sum. A factor is a multiplier and an exponent.
pub const FIXED_ADDENDS: usize = 64;

/// Writes into a header.
pub struct Header<'a>(pub &'a mut [u8]);

impl Header<'_> {
    fn put(&mut self, at: usize, numbers: &[i32]) {
        for (to, number) in self.0[at..].chunks_exact_mut(4).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
    }

    /// Writes the zero point and the limits of results. `offset` is the difference between bytes and the numbers that
    /// they represent.
    pub fn range(&mut self, zero: i32, limits: Limits, offset: i32) {
        self.put(RANGE, &[zero, limits.low, limits.high].map(|number| number + offset));
    }

    pub fn general(&mut self, general: bool) {
        self.put(GENERAL, &[i32::from(general)]);
    }

    pub fn padding(&mut self, zero: i32, offset: i32) {
        self.put(PADDING, &[zero + offset]);
    }

    pub fn pool(&mut self, kind: PoolKind, [result, average]: [Quant; 2]) {
        let kind = i32::from(kind == PoolKind::Average);
        let [from, to] = [result, average].map(|quant| quant.scale().to_bits().cast_signed());
        self.put(POOL, &[kind, from, result.zero_point(), to, average.zero_point()]);
    }

    /// `result` is the quantization of the projection's result, `added` that of the residual.
    pub fn addends(&mut self, add: Add, [result, added]: [Quant; 2], limits: Limits, offset: i32) -> Option<()> {
        let zero = added.zero_point() + offset;
        let (low, high) = (limits.low - result.zero_point(), limits.high - result.zero_point());
        if let Some([left, right, sum]) = add.fixed() {
            let numbers = |fixed: Fixed| [fixed.multiplier, fixed.exponent];
            let [[left, left_exponent], [right, right_exponent], [sum, sum_exponent]] = [left, right, sum].map(numbers);
            let numbers = [zero, right, right_exponent, low, high, left, left_exponent, sum, sum_exponent];
            self.put(FIXED_ADDENDS, &numbers);
            return Some(());
        }
        let (left, right, shift) = add.multipliers()?;
        let bias = (1 << (shift - 1)) - right * zero;
        self.put(ADDENDS, &[right, left, bias, shift as i32, low, high]);
        Some(())
    }
}

/// Returns the pool of the layer with this header; `None` if its parameters are invalid.
pub(super) fn pool(header: Src<'_, u8>, rounding: Rounding, integer: Integer, pixels: usize) -> Option<Pool> {
    let word = |index: usize| i32::from_le_bytes(core::array::from_fn(|byte| header.get(POOL + index * 4 + byte)));
    let quant = |index| Quant::new(f32::from_bits(word(index).cast_unsigned()), word(index + 1), integer);
    let kind = if word(0) == 1 { PoolKind::Average } else { PoolKind::Mean };
    Pool::new(rounding, kind, pixels, quant(1)?, quant(3)?, integer.limits())
}

/// Whether the layer with its header at `at` must use the general kernels.
#[inline]
pub fn is_general(block: Src<'_, u8>, at: usize) -> bool {
    block.get(at + GENERAL) != 0
}

/// Fills the columns on both sides of an image in row quads, or a whole row, with the padding of the layer with its
/// header at `at`.
#[inline]
pub fn pad(block: Src<'_, u8>, at: usize, to: Area<'_, u8>, bytes: Range<usize>) {
    let padding = block.get(at + PADDING);
    to.write(bytes, |bytes| bytes.fill(padding));
}
