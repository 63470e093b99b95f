//! AVX2 with FMA: eight floats, sixteen registers.

use core::arch::x86_64::*;

use crate::bf16::Bf16;
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

/// Eight pairs of bf16 numbers.
pub type Pairs = __m256i;

/// Returns `LANES` pairs from `at`; a pair takes the space of one float.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load_pairs(from: Src<'_>, at: usize) -> Pairs {
    _mm256_castps_si256(load(from, at))
}

/// Returns the pair at `at` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn splat_pair(from: Src<'_, Bf16>, at: usize) -> Pairs {
    // SAFETY: as in `load`; a pair is two numbers.
    _mm256_set1_epi32(unsafe { from.address(at, 2).cast::<i32>().read_unaligned() })
}

/// Returns the number at `at`, paired with zero, in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn splat_single(from: Src<'_, Bf16>, at: usize) -> Pairs {
    _mm256_set1_epi32(i32::from(from.get(at).to_bits()))
}

/// Returns the first number of each pair.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn even(pairs: Pairs) -> Vector {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))
}

/// Returns the second number of each pair.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn odd(pairs: Pairs) -> Vector {
    _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x1_0000)))
}

/// Adds both products of each pair to `sum`, the second one first. A product of bf16 numbers is exact.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    fma(even(x), even(w), fma(odd(x), odd(w), sum))
}

/// Returns `LANES` bf16 numbers from `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load_bf16(from: Src<'_, Bf16>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    widen(unsafe { _mm_loadu_si128(from.address(at, LANES).cast()) })
}

/// Returns the first `N` bf16 numbers from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load_bf16_first<const N: usize>(from: Src<'_, Bf16>, at: usize) -> Vector {
    let mut lanes = [Bf16::ZERO; LANES];
    // SAFETY: both ranges hold `N <= LANES` numbers; otherwise as in `load`.
    unsafe {
        core::ptr::copy_nonoverlapping(from.address(at, N), lanes[..N].as_mut_ptr(), N);
        widen(_mm_loadu_si128(lanes.as_ptr().cast()))
    }
}

/// Writes `LANES` numbers from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn store_bf16(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { _mm_storeu_si128(to.address(at, LANES).cast(), narrow(value)) }
}

/// Writes the first `N` lanes from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn store_bf16_first<const N: usize>(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    let mut lanes = [Bf16::ZERO; LANES];
    // SAFETY: both ranges hold `N <= LANES` numbers; otherwise as in `load`.
    unsafe {
        _mm_storeu_si128(lanes.as_mut_ptr().cast(), narrow(value));
        core::ptr::copy_nonoverlapping(lanes[..N].as_ptr(), to.address(at, N), N);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen(numbers: __m128i) -> Vector {
    even(_mm256_cvtepu16_epi32(numbers))
}

/// Rounds to bf16, as [`Bf16::from_f32`].
#[inline]
#[target_feature(enable = "avx2,fma")]
fn narrow(value: Vector) -> __m128i {
    let bits = _mm256_castps_si256(value);
    let exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f80_0000));
    let magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff));
    let subnormal = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
    let bits = _mm256_andnot_si256(_mm256_and_si256(subnormal, magnitude), bits);
    let tie = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(tie, _mm256_set1_epi32(0x7fff)));
    let halves = _mm256_srli_epi32::<16>(rounded);
    let packed = _mm256_packus_epi32(halves, halves);
    _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b10_00>(packed))
}
