//! NEON with the dot-product extension: four products of bytes in one instruction.

super::arm::arm!("neon,dotprod");

pub type Quads = int8x16_t;
/// `[lane][4]`, with sign.
pub type Weights = int8x16_t;

/// The four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    signed(vreinterpretq_u8_s32(vdupq_n_s32(word(from, at))))
}

/// Four bytes for each lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    signed(vector(from, at))
}

/// The first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    let first = vreinterpretq_u8_u32(vdupq_n_u32(0xffff));
    signed(vbslq_u8(first, vector(below, at), vector(above, at)))
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    let mut sums = sums;
    // In place of `vdotq_s32`, which is stable from Rust 1.98.
    //
    // SAFETY: the instruction reads and writes the registers that it names, and nothing else.
    unsafe {
        core::arch::asm!(
            "sdot {sums:v}.4s, {quads:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            quads = in(vreg) quads,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
