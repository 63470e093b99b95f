//! AVX512-BF16 with AMX: the AVX512-BF16 vocabulary and block products.

use core::arch::asm;
use core::mem::MaybeUninit;

use crate::bf16::Bf16;
use crate::simd::Src;

pub use super::avx512bf16::*;
use crate::simd::amx::ROWS;
pub use crate::simd::amx::{ReleaseTiles, Tiles};

/// Maximum number of floats in the sums of a tile: two blocks of pixels by two vectors of channels.
const FLOATS: usize = 2 * ROWS * 2 * LANES;

/// Memory for the sums of a tile.
#[repr(align(64))]
pub struct Sums([MaybeUninit<f32>; FLOATS]);

impl Sums {
    /// Uninitialized memory.
    pub const UNINIT: Self = Self([MaybeUninit::uninit(); FLOATS]);
}

/// Computes the sums of `BLOCKS` blocks of `PIXELS` pixels by `VECTORS` vectors of channels. `BLOCKS` and `VECTORS` are 1
/// or 2. Returns the sums as `[pixel][channel]`, with the pixels of the first block first.
///
/// The pixels of block `b` start at `blocks[b]` and are `stride` bf16 values apart. The product reads `steps * BYTES / 2`
/// values of each pixel. `w` is `[1 + steps * BYTES / 4][VECTORS * LANES]`: a row of biases, then one row of bf16 weight
/// pairs for each pair of input values.
///
/// Each sum starts at its bias. In each step, the products of even-indexed and odd-indexed values are summed separately,
/// each from zero. The two sums are added, and the result is added to the running sum. Products are accumulated with fused
/// multiply-adds. Every operation rounds to nearest, ties to even. Subnormal inputs and results are treated as zero.
///
/// # Panics
/// Panics if `steps` is 0, and in debug builds if the registers have other shapes or a view is too short.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub fn multiply<'s, const PIXELS: usize, const BYTES: usize, const BLOCKS: usize, const VECTORS: usize>(
    tiles: &Tiles<PIXELS, BYTES>,
    blocks: [Src<'_, Bf16>; BLOCKS],
    stride: usize,
    w: Src<'_>,
    steps: usize,
    sums: &'s mut Sums,
) -> &'s [f32] {
    const { assert!(1 <= BLOCKS && BLOCKS <= 2 && 1 <= VECTORS && VECTORS <= 2) };
    tiles.check();
    let read = (PIXELS - 1) * stride + steps * BYTES / 2;
    let [first, second] = [0, BLOCKS - 1].map(|block| blocks[block].address(0, read));
    let weights = w.address(0, (1 + steps * BYTES / 4) * VECTORS * LANES);
    let row = VECTORS * LANES * size_of::<f32>();
    let to = sums.0.as_mut_ptr().cast::<f32>();
    assert!(steps > 0, "`steps` must not be 0");
    // SAFETY: a `Tiles` value exists only if the processor has AMX. By the contract of the view that returned it, the
    // registers have its shapes. The loads stay within the ranges passed to `address`. The constructors of the views
    // require those ranges to be in bounds; debug builds check them. The stores write `BLOCKS * PIXELS` rows of `VECTORS`
    // vectors, at most `FLOATS` floats, so the returned slice is initialized.
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
            "add {b}, {bytes}",
            ".endif",
            "add {a}, {bytes}",
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
            bytes = const BYTES, weights = const BYTES / 4 * VECTORS * 64,
            block = const PIXELS * VECTORS * 64, vectors = const VECTORS, blocks = const BLOCKS,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
        core::slice::from_raw_parts(to, BLOCKS * PIXELS * VECTORS * LANES)
    }
}
