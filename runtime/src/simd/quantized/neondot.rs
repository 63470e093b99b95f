//! NEON with the dot-product extension: four products of bytes in one instruction.

super::arm::arm!("neon,dotprod");

/// Four activations minus 128 per lane.
pub type Quads = int8x16_t;
/// `[lane][4]`, signed.
pub type Weights = int8x16_t;

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    signed(vreinterpretq_u8_s32(vdupq_n_s32(from.word(at))))
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    signed(vector(from, at))
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    let first = vreinterpretq_u8_u32(vdupq_n_u32(0xffff));
    signed(vbslq_u8(first, vector(below, at), vector(above, at)))
}

/// Replaces `vdotq_s32` and `vdotq_laneq_s32`, which are stable from Rust 1.98.
macro_rules! sdot {
    ($form:literal, $sums:ident, $weights:ident, $quads:ident) => {
        // SAFETY: the instruction reads and writes the registers that it names, and nothing else.
        unsafe {
            core::arch::asm!(
                concat!("sdot {sums:v}.4s, {weights:v}.16b, {quads:v}.", $form),
                sums = inout(vreg) $sums,
                weights = in(vreg) $weights,
                quads = in(vreg) $quads,
                options(pure, nomem, nostack, preserves_flags),
            )
        }
    };
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot(quads: Quads, weights: Weights, mut sums: Sums) -> Sums {
    sdot!("16b", sums, weights, quads);
    sums
}

/// Computes [`dot`] with quad `QUAD` of the four in every lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot_lane<const QUAD: usize>(quads: Sixteen, weights: Weights, mut sums: Sums) -> Sums {
    match QUAD {
        0 => sdot!("4b[0]", sums, weights, quads),
        1 => sdot!("4b[1]", sums, weights, quads),
        2 => sdot!("4b[2]", sums, weights, quads),
        _ => sdot!("4b[3]", sums, weights, quads),
    }
    sums
}
