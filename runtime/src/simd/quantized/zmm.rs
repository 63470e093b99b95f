//! Vectors of 512 bits: the intrinsics of AVX-512 under the names that `x86` uses for any width.

use core::arch::x86_64::*;

use crate::quantized::arithmetic::LEFT_SHIFT;

pub use core::arch::x86_64::{
    __m512 as Floats, __m512i as Integers, _mm512_abs_epi32 as abs_epi32, _mm512_add_epi32 as add_epi32,
    _mm512_add_epi64 as add_epi64, _mm512_adds_epi16 as adds_epi16, _mm512_broadcast_i32x4 as broadcast_i32x4,
    _mm512_castsi512_ps as cast_ps, _mm512_cvtepi32_ps as cvtepi32_ps, _mm512_cvtepu8_epi32 as cvtepu8_epi32,
    _mm512_cvtps_epi32 as cvtps_epi32, _mm512_fmadd_ps as fmadd_ps, _mm512_loadu_si512 as load,
    _mm512_max_epi32 as max_epi32, _mm512_max_epu8 as max_epu8, _mm512_min_epi32 as min_epi32,
    _mm512_min_epu8 as min_epu8, _mm512_mul_epi32 as mul_epi32, _mm512_mul_ps as mul_ps,
    _mm512_mullo_epi32 as mullo_epi32, _mm512_packs_epi32 as packs_epi32, _mm512_packus_epi16 as packus_epi16,
    _mm512_set1_epi32 as set1_epi32, _mm512_set1_epi64 as set1_epi64, _mm512_set1_ps as set1_ps,
    _mm512_setzero_si512 as setzero, _mm512_shuffle_epi8 as shuffle_epi8, _mm512_sllv_epi32 as sllv_epi32,
    _mm512_sllv_epi64 as sllv_epi64, _mm512_sra_epi32 as sra_epi32, _mm512_srav_epi32 as srav_epi32,
    _mm512_srli_epi32 as srli_epi32, _mm512_srli_epi64 as srli_epi64, _mm512_srlv_epi32 as srlv_epi32,
    _mm512_storeu_si512 as store, _mm512_sub_epi32 as sub_epi32,
};

/// 32-bit lanes of a vector.
const LANES: usize = 16;

/// Returns a mask of the first `N` lanes.
const fn first<const N: usize>() -> __mmask16 {
    const { assert!(N <= LANES) };
    ((1u32 << N) - 1) as __mmask16
}

/// Returns the even lanes, with zeros in the odd ones.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn even_lanes(numbers: Integers) -> Integers {
    _mm512_maskz_mov_epi32(0x5555, numbers)
}

/// Returns the even lanes of one vector and the odd lanes of another.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn even_and_odd(even: Integers, odd: Integers) -> Integers {
    _mm512_mask_blend_epi32(0xaaaa, even, odd)
}

/// Returns the upper halves of 64-bit lanes, those of `even` in the even lanes and those of `odd` in the odd ones.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn upper_halves(even: Integers, odd: Integers) -> Integers {
    _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even)
}

/// Returns magnitudes with the signs of other numbers. If a sign operand is 0, so is its magnitude.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub fn with_sign_of(magnitudes: Integers, signs: Integers) -> Integers {
    _mm512_mask_sub_epi32(magnitudes, _mm512_movepi32_mask(signs), _mm512_setzero_si512(), magnitudes)
}

/// Returns an operand of a residual add, shifted left as in TensorFlow Lite's reference kernels.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn shift_operand(numbers: Integers) -> Integers {
    _mm512_slli_epi32::<{ LEFT_SHIFT }>(numbers)
}

/// Returns the 128 bits with index `INDEX`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn quarter<const INDEX: i32>(vector: Integers) -> __m128i {
    match INDEX {
        0 => _mm512_castsi512_si128(vector),
        _ => _mm512_extracti32x4_epi32::<INDEX>(vector),
    }
}

/// Returns packed results in the order of pixels, for [`pixel_of`].
#[inline]
#[target_feature(enable = "avx512f")]
pub fn by_pixel(packed: Integers) -> Integers {
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, packed)
}

/// Returns the channels of the pixel with index `INDEX`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn pixel_of<const INDEX: i32>(pixels: Integers) -> __m128i {
    quarter::<INDEX>(pixels)
}

/// Stores the first `CHANNELS` bytes, at most one per lane.
///
/// # Safety
/// `to` is valid for writes of `CHANNELS` bytes.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
pub unsafe fn store_first<const CHANNELS: usize>(to: *mut u8, channels: __m128i) {
    match CHANNELS {
        // SAFETY: the caller guarantees that `CHANNELS` bytes at `to` are writable.
        LANES => unsafe { _mm_storeu_si128(to.cast(), channels) },
        // SAFETY: the caller guarantees that `CHANNELS` bytes at `to` are writable; masked bytes are not written.
        _ => unsafe { _mm_mask_storeu_epi8(to.cast(), first::<CHANNELS>(), channels) },
    }
}

/// Loads `CHANNELS` bytes, at most one per lane, followed by zeros.
///
/// # Safety
/// `from` is valid for reads of `CHANNELS` bytes.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
pub unsafe fn load_first<const CHANNELS: usize>(from: *const u8) -> __m128i {
    match CHANNELS {
        // SAFETY: the caller guarantees that `CHANNELS` bytes at `from` are readable.
        LANES => unsafe { _mm_loadu_si128(from.cast()) },
        // SAFETY: the caller guarantees that `CHANNELS` bytes at `from` are readable; masked bytes are not read.
        _ => unsafe { _mm_maskz_loadu_epi8(first::<CHANNELS>(), from.cast()) },
    }
}
