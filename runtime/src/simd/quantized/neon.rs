//! NEON without the dot-product extension: eight products of bytes, added in pairs to the sums.
//!
//! The sum of two products can exceed 16 bits (twice 128 * 128), so products are widened before they are added.

super::arm::arm!("neon");

/// The first two bytes of each quad, repeated or lane by lane, in both halves; and the last two.
pub type Quads = [int8x16_t; 2];
/// `[lane][w0, w1]`, then `[lane][w2, w3]`.
pub type Weights = int8x16_t;

/// Returns the two bytes at `at` in all 16-bit lanes.
#[inline]
#[target_feature(enable = "neon")]
fn pair(from: Src<'_, u8>, at: usize) -> int8x16_t {
    let pair = u16::from_le_bytes(from.read(at));
    signed(vreinterpretq_u8_u16(vdupq_n_u16(pair)))
}

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "neon")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    [pair(from, at), pair(from, at + 2)]
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "neon")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    between(from, from, at)
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "neon")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    let pairs = |from| vreinterpretq_s16_s8(signed(vector(from, at)));
    let (above, below) = (pairs(above), pairs(below));
    [vreinterpretq_s8_s16(vuzp1q_s16(below, below)), vreinterpretq_s8_s16(vuzp2q_s16(above, above))]
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "neon")]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    let sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(quads[0]), vget_low_s8(weights)));
    vpadalq_s16(sums, vmull_high_s8(quads[1], weights))
}

/// Computes [`dot`] with quad `QUAD` of the four in every lane.
#[inline]
#[target_feature(enable = "neon")]
pub fn dot_lane<const QUAD: usize>(quads: Sixteen, weights: Weights, sums: Sums) -> Sums {
    let pairs = vreinterpretq_s16_s8(quads);
    let [first, last] = match QUAD {
        0 => [vdupq_laneq_s16::<0>(pairs), vdupq_laneq_s16::<1>(pairs)],
        1 => [vdupq_laneq_s16::<2>(pairs), vdupq_laneq_s16::<3>(pairs)],
        2 => [vdupq_laneq_s16::<4>(pairs), vdupq_laneq_s16::<5>(pairs)],
        _ => [vdupq_laneq_s16::<6>(pairs), vdupq_laneq_s16::<7>(pairs)],
    };
    dot([vreinterpretq_s8_s16(first), vreinterpretq_s8_s16(last)], weights, sums)
}
