//! AVX2 with FMA: eight floats, sixteen registers.

use core::arch::x86_64::*;

use crate::simd::{Dst, Src};

/// Eight floats.
pub type Vector = __m256;
/// Floats in a vector.
pub const LANES: usize = 8;

/// Returns a mask of the first `N` lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn first<const N: usize>() -> __m256i {
    const { assert!(N <= LANES) };
    _mm256_cmpgt_epi32(_mm256_set1_epi32(N as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// Returns `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    unsafe { _mm256_loadu_ps(from.address(at, LANES)) }
}

/// Returns the first `N` floats from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load_first<const N: usize>(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: masked lanes are not read; otherwise as in `load`.
    unsafe { _mm256_maskload_ps(from.address(at, N), first::<N>()) }
}

/// Returns the float at `at` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn splat(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    _mm256_set1_ps(unsafe { *from.address(at, 1) })
}

/// Returns `value` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn constant(value: f32) -> Vector {
    _mm256_set1_ps(value)
}

/// Writes `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn store(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { _mm256_storeu_ps(to.address(at, LANES), value) }
}

/// Writes the first `N` lanes from `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn store_first<const N: usize>(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: masked lanes are not written; otherwise as in `load`.
    unsafe { _mm256_maskstore_ps(to.address(at, N), first::<N>(), value) }
}

/// `x * w + sum`, rounded once.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn fma(x: Vector, w: Vector, sum: Vector) -> Vector {
    _mm256_fmadd_ps(x, w, sum)
}

/// Returns `(a[x] + v) * (b[y] + u) + sum`, a pair of the fast inner product.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn pair(a: Src<'_>, x: usize, b: Src<'_>, y: usize, v: Vector, u: Vector, sum: Vector) -> Vector {
    fma(add(splat(a, x), v), add(splat(b, y), u), sum)
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_ps(a, b)
}

/// `a - b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn sub(a: Vector, b: Vector) -> Vector {
    _mm256_sub_ps(a, b)
}

/// `a * b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn mul(a: Vector, b: Vector) -> Vector {
    _mm256_mul_ps(a, b)
}

/// `max(v, 0)`; NaN gives 0.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn relu(v: Vector) -> Vector {
    _mm256_max_ps(v, _mm256_setzero_ps())
}

/// `min(max(v, 0), 6)`; NaN gives 0.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn relu6(v: Vector) -> Vector {
    _mm256_min_ps(relu(v), _mm256_set1_ps(6.0))
}

/// Prefetches the cache line at `at`, which may be outside the view.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn prefetch(from: Src<'_>, at: usize) {
    _mm_prefetch::<_MM_HINT_T1>(from.hint(at).cast())
}
