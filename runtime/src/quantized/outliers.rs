//! Outlier weights, which do not fit a signed byte: uint8 weights minus their zero point are from -255 to 255.
//!
//! If kernels multiply bytes, packing stores the part of a weight that fits a byte in its place. The remaining parts
//! are in separate rows, which kernels multiply by the same activations afterwards. Most layers have no such row.

use crate::simd::Src;

/// Maximum rows of outliers of a quad of weights: 255 = 127 + 127 + 1.
pub const ROWS: usize = 2;

/// Returns part `part` of a weight. The sum of the parts is the weight.
#[inline(always)]
pub fn part(weight: i32, part: usize) -> i32 {
    let before = weight.clamp(-128 * part as i32, 127 * part as i32);
    (weight - before).clamp(-128, 127)
}

/// Returns the bytes of the list of outliers of a run of `quads` quads: the number of rows, and the quad of each row.
/// The rows follow the list.
pub const fn list_bytes(quads: usize) -> usize {
    ((1 + ROWS * quads) * 4).next_multiple_of(64)
}

/// Returns the number of rows in the list at `at`.
#[inline(always)]
pub fn rows(block: Src<'_, u8>, at: usize) -> usize {
    word(block, at)
}

/// Returns the quad that row `row` of the list at `at` is multiplied by.
#[inline(always)]
pub fn quad(block: Src<'_, u8>, at: usize, row: usize) -> usize {
    word(block, at + 4 + row * 4)
}

#[inline(always)]
fn word(block: Src<'_, u8>, at: usize) -> usize {
    u32::from_le_bytes(core::array::from_fn(|byte| block.get(at + byte))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_signed_bytes_that_add_up() {
        for weight in -255..=255 {
            let parts: [i32; 1 + ROWS] = core::array::from_fn(|at| part(weight, at));
            assert!(parts.iter().all(|part| i8::try_from(*part).is_ok()), "{weight}: {parts:?}");
            assert_eq!(parts.iter().sum::<i32>(), weight);
        }
    }
}
