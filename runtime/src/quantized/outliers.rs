//! Outlier weights, which the multiplication of bytes cannot hold: uint8 weights minus their zero point are from -255
//! to 255, and products that are added in pairs would saturate for large pairs.
//!
//! If kernels multiply bytes, packing stores the part of a weight that fits in its place. The remaining parts are in
//! separate rows, which kernels multiply by the same activations afterwards. Most layers have no or few such rows.

use crate::simd::Src;

/// Returns part `part` of a weight. The sum of the parts is the weight.
#[inline(always)]
pub fn part(weight: i32, part: usize) -> i32 {
    let before = weight.clamp(-128 * part as i32, 127 * part as i32);
    (weight - before).clamp(-128, 127)
}

/// Greatest sum of the weights of one sign in a pair: 255 * 128 fits 16 bits.
const PAIR: i32 = 128;

/// Returns part `part` of a pair of weights. The sum of the parts is the pair, and no part times two bytes exceeds 16
/// bits.
#[inline(always)]
pub fn pair_part(mut pair: [i32; 2], part: usize) -> [i32; 2] {
    for _ in 0..part {
        let [a, b] = first_of_pair(pair);
        pair = [pair[0] - a, pair[1] - b];
    }
    first_of_pair(pair)
}

#[inline(always)]
fn first_of_pair([a, b]: [i32; 2]) -> [i32; 2] {
    let a = a.clamp(-128, 127);
    // What the first weight leaves of each sign.
    let b = b.clamp(-PAIR - a.min(0), PAIR - a.max(0)).clamp(-128, 127);
    [a, b]
}

/// Whether two weights are signed bytes whose products with bytes add up to 16 bits.
#[inline(always)]
pub fn is_pair(a: i16, b: i16) -> bool {
    let sum = a + b;
    a.max(b) <= 127 && a.min(b) >= -128 && sum <= PAIR as i16 && sum >= -PAIR as i16
}

/// Returns the bytes of the list of outliers of a run of `quads` quads with at most `rows` rows each: the number of
/// rows, and the quad of each row. The rows follow the list.
pub const fn list_bytes(quads: usize, rows: usize) -> usize {
    ((1 + rows * quads) * 4).next_multiple_of(64)
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
    use super::super::DotForm;
    use super::*;
    use crate::quantized::arithmetic::Integer;

    #[test]
    fn parts_are_signed_bytes_that_add_up() {
        const ROWS: usize = DotForm::Bytes.outlier_rows(Integer::Uint8);
        for weight in -255..=255 {
            let parts: [i32; 1 + ROWS] = core::array::from_fn(|at| part(weight, at));
            assert!(parts.iter().all(|part| i8::try_from(*part).is_ok()), "{weight}: {parts:?}");
            assert_eq!(parts.iter().sum::<i32>(), weight);
        }
    }

    /// Sums of the products of two weights with bytes, at their least and their most.
    fn fits([a, b]: [i32; 2]) -> bool {
        let sums = [[0, 0], [0, 255], [255, 0], [255, 255]].map(|[x, y]| x * a + y * b);
        [a, b].iter().all(|weight| i8::try_from(*weight).is_ok()) && sums.iter().all(|sum| i16::try_from(*sum).is_ok())
    }

    #[test]
    #[cfg_attr(miri, ignore = "tries all pairs of weights, and runs no unsafe code")]
    fn parts_of_pairs_do_not_saturate_and_add_up() {
        for (integer, range) in [(Integer::Int8, -128..=127), (Integer::Uint8, -255..=255)] {
            let rows = DotForm::PairedBytes.outlier_rows(integer);
            for (a, b) in range.clone().flat_map(|a| range.clone().map(move |b| (a, b))) {
                let mut left = [a, b];
                for at in 0..=rows {
                    let part = pair_part([a, b], at);
                    assert!(fits(part), "{a}, {b}: {part:?}");
                    left = [left[0] - part[0], left[1] - part[1]];
                }
                assert_eq!(left, [0, 0], "{a}, {b}");
                assert_eq!(pair_part([a, b], 1 + rows), [0, 0]);
                assert_eq!(is_pair(a as i16, b as i16), pair_part([a, b], 1) == [0, 0], "{a}, {b}");
            }
        }
    }
}
