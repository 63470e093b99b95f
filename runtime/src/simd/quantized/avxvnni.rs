//! AVX-VNNI: four products of bytes in one instruction, in vectors of 256 bits.

super::x86::x86!(ymm, "avx2,fma,avxvnni");

/// Four activations per lane, as bytes.
pub type Quads = __m256i;
/// Four weights per lane, as signed bytes.
pub type Weights = __m256i;

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    _mm256_set1_epi32(from.word(at))
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    vector(from, at)
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    _mm256_blend_epi16::<0x55>(vector(above, at), vector(below, at))
}

/// Bytes that [`weights`] reads: `[lane][4]`, signed.
pub const WEIGHTS: usize = 32;

/// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    vector(from, at)
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    _mm256_dpbusd_avx_epi32(sums, quads, weights)
}
