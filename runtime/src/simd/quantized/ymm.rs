//! Vectors of 256 bits: the intrinsics of AVX2 under the names that `x86` uses for any width.

use core::arch::x86_64::*;

use crate::quantized::arithmetic::LEFT_SHIFT;

pub use core::arch::x86_64::{
    __m256 as Floats, __m256i as Integers, _mm256_abs_epi32 as abs_epi32, _mm256_add_epi32 as add_epi32,
    _mm256_add_epi64 as add_epi64, _mm256_adds_epi16 as adds_epi16, _mm256_broadcastsi128_si256 as broadcast_i32x4,
    _mm256_castsi256_ps as cast_ps, _mm256_cvtepi32_ps as cvtepi32_ps, _mm256_cvtepu8_epi32 as cvtepu8_epi32,
    _mm256_cvtps_epi32 as cvtps_epi32, _mm256_fmadd_ps as fmadd_ps, _mm256_loadu_si256 as load,
    _mm256_max_epi32 as max_epi32, _mm256_max_epu8 as max_epu8, _mm256_min_epi32 as min_epi32,
    _mm256_min_epu8 as min_epu8, _mm256_mul_epi32 as mul_epi32, _mm256_mul_ps as mul_ps,
    _mm256_mullo_epi32 as mullo_epi32, _mm256_packs_epi32 as packs_epi32, _mm256_packus_epi16 as packus_epi16,
    _mm256_set1_epi32 as set1_epi32, _mm256_set1_epi64x as set1_epi64, _mm256_set1_ps as set1_ps,
    _mm256_setzero_si256 as setzero, _mm256_shuffle_epi8 as shuffle_epi8, _mm256_sllv_epi32 as sllv_epi32,
    _mm256_sllv_epi64 as sllv_epi64, _mm256_sra_epi32 as sra_epi32, _mm256_srav_epi32 as srav_epi32,
    _mm256_srli_epi32 as srli_epi32, _mm256_srli_epi64 as srli_epi64, _mm256_srlv_epi32 as srlv_epi32,
    _mm256_storeu_si256 as store, _mm256_sub_epi32 as sub_epi32,
};

/// 32-bit lanes of a vector.
const LANES: usize = 8;

/// Returns the even lanes, with zeros in the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
pub fn even_lanes(numbers: Integers) -> Integers {
    _mm256_blend_epi32::<0xaa>(numbers, _mm256_setzero_si256())
}

/// Returns the even lanes of one vector and the odd lanes of another.
#[inline]
#[target_feature(enable = "avx2")]
pub fn even_and_odd(even: Integers, odd: Integers) -> Integers {
    _mm256_blend_epi32::<0xaa>(even, odd)
}

/// Returns the upper halves of 64-bit lanes, those of `even` in the even lanes and those of `odd` in the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
pub fn upper_halves(even: Integers, odd: Integers) -> Integers {
    _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd)
}

/// Returns magnitudes with the signs of other numbers. If a sign operand is 0, so is its magnitude.
#[inline]
#[target_feature(enable = "avx2")]
pub fn with_sign_of(magnitudes: Integers, signs: Integers) -> Integers {
    _mm256_sign_epi32(magnitudes, signs)
}

/// Returns an operand of a residual add, shifted left as in TensorFlow Lite's reference kernels.
#[inline]
#[target_feature(enable = "avx2")]
pub fn shift_operand(numbers: Integers) -> Integers {
    _mm256_slli_epi32::<{ LEFT_SHIFT as i32 }>(numbers)
}

/// Returns the 128 bits with index `INDEX`.
#[inline]
#[target_feature(enable = "avx2")]
pub fn quarter<const INDEX: i32>(vector: Integers) -> __m128i {
    match INDEX {
        0 => _mm256_castsi256_si128(vector),
        _ => _mm256_extracti128_si256::<1>(vector),
    }
}

/// Returns packed results in the order of pixels, for [`pixel_of`].
#[inline]
#[target_feature(enable = "avx2")]
pub fn by_pixel(packed: Integers) -> Integers {
    _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// Returns the channels of the pixel with index `INDEX`, in the low bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub fn pixel_of<const INDEX: i32>(pixels: Integers) -> __m128i {
    let (low, high) = (_mm256_castsi256_si128(pixels), _mm256_extracti128_si256::<1>(pixels));
    match INDEX {
        0 => low,
        1 => _mm_unpackhi_epi64(low, low),
        2 => high,
        _ => _mm_unpackhi_epi64(high, high),
    }
}

/// Stores the first `CHANNELS` bytes, at most one per lane.
///
/// # Safety
/// `to` is valid for writes of `CHANNELS` bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn store_first<const CHANNELS: usize>(to: *mut u8, channels: __m128i) {
    match CHANNELS {
        // SAFETY: the caller guarantees that `CHANNELS` bytes at `to` are writable.
        LANES => unsafe { _mm_storel_epi64(to.cast(), channels) },
        _ => {
            let bytes = _mm_cvtsi128_si64(channels).to_le_bytes();
            // SAFETY: the caller guarantees that `CHANNELS` bytes at `to` are writable; `bytes` has one per lane.
            unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, CHANNELS.min(LANES)) }
        }
    }
}

/// Loads `CHANNELS` bytes, at most one per lane, followed by zeros.
///
/// # Safety
/// `from` is valid for reads of `CHANNELS` bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn load_first<const CHANNELS: usize>(from: *const u8) -> __m128i {
    match CHANNELS {
        // SAFETY: the caller guarantees that `CHANNELS` bytes at `from` are readable.
        LANES => unsafe { _mm_loadl_epi64(from.cast()) },
        _ => {
            let mut bytes = [0; LANES];
            // SAFETY: the caller guarantees that `CHANNELS` bytes at `from` are readable; `bytes` has one per lane.
            unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), CHANNELS.min(LANES)) };
            _mm_cvtsi64_si128(i64::from_le_bytes(bytes))
        }
    }
}
