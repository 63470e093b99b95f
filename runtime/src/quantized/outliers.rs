//! Weights that no byte with sign holds: those of older quantized networks, less their zero point, are from -255 to 255.
//!
//! Where weights are multiplied as bytes, as much of each as fits is packed in its place, and what is left in rows of its
//! own, which are multiplied by the same activations after it: a few in a layer, or none.

use crate::simd::Src;

/// Rows that a quad of weights can need beyond its first: 127 and 127 leave 1 of 255.
pub const ROWS: usize = 2;

/// Part `part` of a weight: the parts add up to it.
#[inline(always)]
pub fn part(weight: i32, part: usize) -> i32 {
    let before = weight.clamp(-128 * part as i32, 127 * part as i32);
    (weight - before).clamp(-128, 127)
}

/// Bytes of the list of a run of `quads` quads, before its rows: how many there are, and the quad of each.
pub const fn list_bytes(quads: usize) -> usize {
    ((1 + ROWS * quads) * 4).next_multiple_of(64)
}

/// How many rows the list at `at` has.
#[inline(always)]
pub fn rows(block: Src<'_, u8>, at: usize) -> usize {
    word(block, at)
}

/// The quad that row `row` of the list at `at` is multiplied by.
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
    fn parts_are_bytes_with_sign_that_add_up() {
        for weight in -255..=255 {
            let parts: [i32; 1 + ROWS] = core::array::from_fn(|at| part(weight, at));
            assert!(parts.iter().all(|part| i8::try_from(*part).is_ok()), "{weight}: {parts:?}");
            assert_eq!(parts.iter().sum::<i32>(), weight);
        }
    }
}
