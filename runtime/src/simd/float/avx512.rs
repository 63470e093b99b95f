//! AVX-512: sixteen floats, thirty-two registers.

use core::arch::x86_64::*;

use crate::bf16::Bf16;
use crate::simd::{Dst, Src};

/// Sixteen floats.
pub type Vector = __m512;
/// Floats in a vector.
pub const LANES: usize = 16;

/// Returns a mask of the first `N` lanes.
pub(super) const fn first<const N: usize>() -> __mmask16 {
    const { assert!(N <= LANES) };
    ((1u32 << N) - 1) as __mmask16
}

/// Returns `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn load(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    unsafe { _mm512_loadu_ps(from.address(at, LANES)) }
}

/// Returns the first `N` floats from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn load_first<const N: usize>(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: masked lanes are not read; otherwise as in `load`.
    unsafe { _mm512_maskz_loadu_ps(first::<N>(), from.address(at, N)) }
}

/// Returns the float at `at` in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn splat(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    _mm512_set1_ps(unsafe { *from.address(at, 1) })
}

/// Returns `value` in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn constant(value: f32) -> Vector {
    _mm512_set1_ps(value)
}

/// Writes `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn store(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { _mm512_storeu_ps(to.address(at, LANES), value) }
}

/// Writes the first `N` lanes from `at`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn store_first<const N: usize>(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: masked lanes are not written; otherwise as in `load`.
    unsafe { _mm512_mask_storeu_ps(to.address(at, N), first::<N>(), value) }
}

/// `x * w + sum`, rounded once.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn fma(x: Vector, w: Vector, sum: Vector) -> Vector {
    _mm512_fmadd_ps(x, w, sum)
}

/// Returns `(a[x] + v) * (b[y] + u) + sum`, a pair of the fast inner product.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn pair(a: Src<'_>, x: usize, b: Src<'_>, y: usize, v: Vector, u: Vector, sum: Vector) -> Vector {
    fma(add(splat(a, x), v), add(splat(b, y), u), sum)
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_ps(a, b)
}

/// `a - b`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sub(a: Vector, b: Vector) -> Vector {
    _mm512_sub_ps(a, b)
}

/// `a * b`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn mul(a: Vector, b: Vector) -> Vector {
    _mm512_mul_ps(a, b)
}

/// Lane `i` is the sum of the lanes of `rows[i]`: a transposition whose steps add.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sums(rows: [Vector; LANES]) -> Vector {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = rows;
    let (first, second) = (quads(a, b, c, d), quads(e, f, g, h));
    let (third, fourth) = (quads(i, j, k, l), quads(m, n, o, p));
    halves(halves(first, second), halves(third, fourth))
}

/// Quarter `q` of the result holds the sums of quarter `q` of each of the four.
#[inline]
#[target_feature(enable = "avx512f")]
fn quads(a: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    let ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    let cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    let (low, high) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
    _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high))
}

/// The quarters of both, pairs of neighbors added.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves(a: Vector, b: Vector) -> Vector {
    _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b))
}

/// `max(v, 0)`; NaN gives 0.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn relu(v: Vector) -> Vector {
    _mm512_max_ps(v, _mm512_setzero_ps())
}

/// `min(max(v, 0), 6)`; NaN gives 0.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn relu6(v: Vector) -> Vector {
    _mm512_min_ps(relu(v), _mm512_set1_ps(6.0))
}

/// Prefetches the cache line at `at`, which may be outside the view.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn prefetch(from: Src<'_>, at: usize) {
    _mm_prefetch::<_MM_HINT_T1>(from.hint(at).cast())
}

/// Sixteen pairs of bf16 numbers.
pub type Pairs = __m512i;

/// Returns `LANES` pairs from `at`; a pair takes the space of one float.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn load_pairs(from: Src<'_>, at: usize) -> Pairs {
    _mm512_castps_si512(load(from, at))
}

/// Returns the pair at `at` in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn splat_pair(from: Src<'_, Bf16>, at: usize) -> Pairs {
    // SAFETY: as in `load`; a pair is two numbers.
    _mm512_set1_epi32(unsafe { from.address(at, 2).cast::<i32>().read_unaligned() })
}

/// Returns the number at `at`, paired with zero, in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn splat_single(from: Src<'_, Bf16>, at: usize) -> Pairs {
    _mm512_set1_epi32(i32::from(from.get(at).to_bits()))
}

/// Returns the first number of each pair.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn even(pairs: Pairs) -> Vector {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))
}

/// Returns the second number of each pair.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn odd(pairs: Pairs) -> Vector {
    _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-0x1_0000)))
}

/// Adds both products of each pair to `sum`, the second one first. A product of bf16 numbers is exact.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    fma(even(x), even(w), fma(odd(x), odd(w), sum))
}

/// Returns `LANES` bf16 numbers from `at`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn load_bf16(from: Src<'_, Bf16>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    even(_mm512_cvtepu16_epi32(unsafe { _mm256_loadu_si256(from.address(at, LANES).cast()) }))
}

/// Returns the first `N` bf16 numbers from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub fn load_bf16_first<const N: usize>(from: Src<'_, Bf16>, at: usize) -> Vector {
    // SAFETY: masked lanes are not read; otherwise as in `load`.
    even(_mm512_cvtepu16_epi32(unsafe { _mm256_maskz_loadu_epi16(first::<N>(), from.address(at, N).cast()) }))
}

/// Writes `LANES` numbers from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn store_bf16(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { _mm256_storeu_si256(to.address(at, LANES).cast(), narrow(value)) }
}

/// Writes the first `N` lanes from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub fn store_bf16_first<const N: usize>(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: masked lanes are not written; otherwise as in `load`.
    unsafe { _mm256_mask_storeu_epi16(to.address(at, N).cast(), first::<N>(), narrow(value)) }
}

/// Rounds to bf16, as [`Bf16::from_f32`].
#[inline]
#[target_feature(enable = "avx512f")]
fn narrow(value: Vector) -> __m256i {
    let bits = _mm512_castps_si512(value);
    let normal = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7f80_0000));
    let sign = _mm512_and_si512(bits, _mm512_set1_epi32(i32::MIN));
    let bits = _mm512_mask_mov_epi32(sign, normal, bits);
    let tie = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(tie, _mm512_set1_epi32(0x7fff)));
    _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
}

/// Vectors of half the width, for the last few channels.
pub use super::avx2 as half;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn sums_are_those_of_the_rows() {
        if Isa::Avx512.detect().is_none() {
            return;
        }
        let values: [f32; LANES * LANES] = core::array::from_fn(|at| (at * at % 97) as f32);
        // SAFETY: the processor has the instructions, as checked above.
        let sums: [f32; LANES] = unsafe {
            let mut rows = [_mm512_setzero_ps(); LANES];
            for (row, values) in rows.iter_mut().zip(values.chunks_exact(LANES)) {
                *row = _mm512_loadu_ps(values.as_ptr());
            }
            core::mem::transmute(super::sums(rows))
        };
        for (sum, values) in sums.iter().zip(values.chunks_exact(LANES)) {
            assert_eq!(*sum, values.iter().sum::<f32>());
        }
    }
}
