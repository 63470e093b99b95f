//! Eight lanes with the instructions of AVX-512 VL and VNNI.

super::super::x86::x86!(ymm, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

/// Four activations per lane, as bytes.
pub type Quads = __m256i;
/// Four weights per lane, as signed bytes.
pub type Weights = __m256i;

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    _mm256_set1_epi32(from.word(at))
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    vector(from, at)
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    _mm256_blend_epi16::<0x55>(vector(above, at), vector(below, at))
}

/// Bytes that [`weights`] reads: `[lane][4]`, signed.
pub const WEIGHTS: usize = 32;

/// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    vector(from, at)
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    _mm256_dpbusd_epi32(sums, quads, weights)
}
