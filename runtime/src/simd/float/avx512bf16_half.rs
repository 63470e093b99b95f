//! Eight floats with the instructions of AVX-512 VL and BF16.

use core::arch::x86_64::*;

use crate::bf16::Bf16;
use crate::simd::Dst;

pub use super::super::avx2::*;

/// Adds both products of each pair to `sum`, the second one first. Subnormal numbers are zero.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    // The last operand can be broadcast from memory.
    _mm256_dpbf16_ps(sum, pairs(w), pairs(x))
}

/// Writes `LANES` numbers from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
pub fn store_bf16(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    unsafe { _mm_storeu_si128(to.address(at, LANES).cast(), narrow(value)) }
}

/// Writes the first `N` lanes from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub fn store_bf16_first<const N: usize>(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    const { assert!(N <= LANES) };
    // SAFETY: masked lanes are not written; otherwise as in `store_bf16`.
    unsafe { _mm_mask_storeu_epi16(to.address(at, N).cast(), ((1u32 << N) - 1) as __mmask8, narrow(value)) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
fn pairs(bits: Pairs) -> __m256bh {
    // SAFETY: both types are 32 bytes, and every bit pattern is valid in both.
    unsafe { core::mem::transmute(bits) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
fn narrow(value: Vector) -> __m128i {
    // SAFETY: both types are 16 bytes, and every bit pattern is valid in both.
    unsafe { core::mem::transmute(_mm256_cvtneps_pbh(value)) }
}
