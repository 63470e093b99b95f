//! AVX-512 with BF16: the vocabulary of AVX-512, with pairs of products in one instruction.

use core::arch::x86_64::*;

use crate::bf16::Bf16;
use crate::simd::Dst;

use super::avx512::first;
pub use super::avx512::*;

/// Adds both products of each pair to `sum`, the second one first. Subnormal numbers are zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    // The last operand can be broadcast from memory.
    _mm512_dpbf16_ps(sum, pairs(w), pairs(x))
}

/// Writes `LANES` numbers from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub fn store_bf16(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    unsafe { _mm256_storeu_si256(to.address(at, LANES).cast(), narrow(value)) }
}

/// Writes the first `N` lanes from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub fn store_bf16_first<const N: usize>(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: masked lanes are not written; otherwise as in `store_bf16`.
    unsafe { _mm256_mask_storeu_epi16(to.address(at, N).cast(), first::<N>(), narrow(value)) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(bits: Pairs) -> __m512bh {
    // SAFETY: both types are 64 bytes, and every bit pattern is valid in both.
    unsafe { core::mem::transmute(bits) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn narrow(value: Vector) -> __m256i {
    // SAFETY: both types are 32 bytes, and every bit pattern is valid in both.
    unsafe { core::mem::transmute(_mm512_cvtneps_pbh(value)) }
}

/// Vectors of half the width, for the last few channels.
#[path = "avx512bf16_half.rs"]
pub mod half;
