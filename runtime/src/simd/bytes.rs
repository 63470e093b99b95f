//! Sums of bytes times weights in 16 lanes, for scaling pictures: the vocabulary of AVX2.

use core::arch::x86_64::*;

/// Lanes of the sums.
pub const LANES: usize = 16;

/// One byte for each lane.
pub type Bytes = [u8; LANES];

/// A 32-bit sum for each lane.
pub type Sums = [__m256i; 2];

/// Returns sums that are all `value`.
#[inline]
#[target_feature(enable = "avx2")]
pub fn splat(value: i32) -> Sums {
    [_mm256_set1_epi32(value); 2]
}

/// Adds the bytes, each times `weight`. The sums wrap around.
#[inline]
#[target_feature(enable = "avx2")]
pub fn add_products(sums: Sums, bytes: &Bytes, weight: i32) -> Sums {
    let (bytes, weight) = (load(bytes), _mm256_set1_epi32(weight));
    let [low, high] = [_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes))];
    [
        _mm256_add_epi32(sums[0], _mm256_mullo_epi32(low, weight)),
        _mm256_add_epi32(sums[1], _mm256_mullo_epi32(high, weight)),
    ]
}

/// Returns the sums, shifted right by `SHIFT` bits and clamped to bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub fn narrow<const SHIFT: i32>(sums: Sums) -> Bytes {
    let words = _mm256_packs_epi32(_mm256_srai_epi32::<SHIFT>(sums[0]), _mm256_srai_epi32::<SHIFT>(sums[1]));
    // Packing works on halves of a vector.
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
    store(_mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words)))
}

/// Transposes a matrix of 16 by 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub fn transpose(rows: &[Bytes; LANES]) -> [Bytes; LANES] {
    let mut vectors = [_mm_setzero_si128(); LANES];
    for (vector, row) in vectors.iter_mut().zip(rows) {
        *vector = load(row);
    }
    // Each round moves the most significant bit of the index of a byte, which has 8 bits, to the other end. After four
    // rounds the numbers of row and column have changed places.
    for _ in 0..4 {
        let before = vectors;
        for pair in 0..LANES / 2 {
            let (upper, lower) = (before[pair], before[pair + LANES / 2]);
            vectors[2 * pair] = _mm_unpacklo_epi8(upper, lower);
            vectors[2 * pair + 1] = _mm_unpackhi_epi8(upper, lower);
        }
    }
    let mut columns = [[0; LANES]; LANES];
    for (column, vector) in columns.iter_mut().zip(vectors) {
        *column = store(vector);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &Bytes) -> __m128i {
    // SAFETY: the array has the 16 bytes that the instruction reads, at any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: __m128i) -> Bytes {
    let mut bytes = [0; LANES];
    // SAFETY: the array has the 16 bytes that the instruction writes, at any alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) };
    bytes
}
