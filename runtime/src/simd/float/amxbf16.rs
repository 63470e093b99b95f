//! AVX-512 with BF16, and AMX: the vocabulary of AVX-512 with BF16, and products of whole blocks of pixels.

use core::arch::asm;
use core::mem::MaybeUninit;

use crate::bf16::Bf16;
use crate::simd::Src;

pub use super::avx512bf16::*;
use crate::simd::amx::ROWS;
pub use crate::simd::amx::Tiles;

/// Maximum floats of the sums of a tile: two blocks of pixels by two vectors of channels.
const FLOATS: usize = 2 * ROWS * 2 * LANES;

/// Memory for the sums of a tile.
#[repr(align(64))]
pub struct Sums([MaybeUninit<f32>; FLOATS]);

impl Sums {
    /// Uninitialized memory.
    pub const NEW: Self = Self([MaybeUninit::uninit(); FLOATS]);
}

/// Computes the sums of `BLOCKS` blocks of `PIXELS` pixels and `VECTORS` vectors of channels, one or two of each. Returns
/// them as `[pixel][channel]`, the pixels of the first block before those of the second.
///
/// The pixels of block `b` start at `blocks[b]`, with `stride` numbers from one pixel to the next. Of each pixel,
/// `steps * DEPTH / 2` numbers are multiplied. The weights are a row of `VECTORS` vectors of biases, and such rows of
/// pairs of bf16 weights, one for each pair of numbers.
///
/// Each sum starts at its bias. In each step, the products of the even and of the odd numbers are summed separately, from zero. Both
/// sums are added, and the result is added to the sum of the steps before. All sums are fused multiply-adds rounded to nearest
/// even; subnormal numbers are zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub fn multiply<'s, const PIXELS: usize, const DEPTH: usize, const BLOCKS: usize, const VECTORS: usize>(
    tiles: &Tiles<PIXELS, DEPTH>,
    blocks: [Src<'_, Bf16>; BLOCKS],
    stride: usize,
    w: Src<'_>,
    steps: usize,
    sums: &'s mut Sums,
) -> &'s [f32] {
    const { assert!(1 <= BLOCKS && BLOCKS <= 2 && 1 <= VECTORS && VECTORS <= 2) };
    tiles.check();
    let read = (PIXELS - 1) * stride + steps * DEPTH / 2;
    let [first, second] = [0, BLOCKS - 1].map(|block| blocks[block].address(0, read));
    let weights = w.address(0, (1 + steps * DEPTH / 4) * VECTORS * LANES);
    let row = VECTORS * LANES * size_of::<f32>();
    let to = sums.0.as_mut_ptr().cast::<f32>();
    debug_assert!(steps > 0, "a product has a step");
    // SAFETY: `Tiles` proves that the processor has AMX, and has given the registers their shapes. The loads read the ranges of
    // which debug builds have checked that they are in bounds; the constructors of the views require it. The stores
    // write `BLOCKS * PIXELS` rows of `VECTORS` vectors, at most `FLOATS` floats, so the slice of them is initialized.
    unsafe {
        asm!(
            "tileloadd tmm0, [{w} + {same}*1]",
            ".if {vectors} == 2",
            "tileloadd tmm1, [{w} + {same}*1 + 64]",
            ".endif",
            ".if {blocks} == 2",
            "tileloadd tmm2, [{w} + {same}*1]",
            ".if {vectors} == 2",
            "tileloadd tmm3, [{w} + {same}*1 + 64]",
            ".endif",
            ".endif",
            "add {w}, {row}",
            "2:",
            "tileloadd tmm4, [{a} + {pixel}*1]",
            "tileloadd tmm6, [{w} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            ".if {vectors} == 2",
            "tileloadd tmm7, [{w} + {row}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            ".endif",
            ".if {blocks} == 2",
            "tileloadd tmm5, [{b} + {pixel}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            ".if {vectors} == 2",
            "tdpbf16ps tmm3, tmm5, tmm7",
            ".endif",
            "add {b}, {depth}",
            ".endif",
            "add {a}, {depth}",
            "add {w}, {weights}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{to} + {row}*1], tmm0",
            ".if {vectors} == 2",
            "tilestored [{to} + {row}*1 + 64], tmm1",
            ".endif",
            ".if {blocks} == 2",
            "tilestored [{to} + {row}*1 + {block}], tmm2",
            ".if {vectors} == 2",
            "tilestored [{to} + {row}*1 + {block} + 64], tmm3",
            ".endif",
            ".endif",
            a = inout(reg) first => _, b = inout(reg) second => _, w = inout(reg) weights => _, steps = inout(reg) steps => _,
            pixel = in(reg) stride * size_of::<Bf16>(), row = in(reg) row, same = in(reg) 0usize, to = in(reg) to,
            depth = const DEPTH, weights = const DEPTH / 4 * VECTORS * 64,
            block = const PIXELS * VECTORS * 64, vectors = const VECTORS, blocks = const BLOCKS,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
        core::slice::from_raw_parts(to, BLOCKS * PIXELS * VECTORS * LANES)
    }
}
