//! AVX2: activations widened to 16 bits, two products per instruction, without saturation.

super::x86::x86!(ymm, "avx2,fma");

/// The even and the odd bytes of each lane, as 16-bit numbers.
pub type Quads = [__m256i; 2];
/// The even and the odd weights of each lane, as 16-bit numbers.
pub type Weights = [__m256i; 2];

#[inline]
#[target_feature(enable = "avx2,fma")]
fn split(bytes: __m256i) -> Quads {
    [_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes)]
}

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    split(_mm256_set1_epi32(from.word(at)))
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    split(vector(from, at))
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    split(_mm256_blend_epi16::<0x55>(vector(above, at), vector(below, at)))
}

/// Bytes that [`weights`] reads: two vectors of 16-bit numbers, `[lane][w0, w2]` and `[lane][w1, w3]`.
pub const WEIGHTS: usize = 64;

/// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    [vector(from, at), vector(from, at + 32)]
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    let even = _mm256_madd_epi16(quads[0], weights[0]);
    let odd = _mm256_madd_epi16(quads[1], weights[1]);
    _mm256_add_epi32(_mm256_add_epi32(sums, even), odd)
}

/// Adds products to sums, in the order of the source. The compiler would add the products of several dot products to each
/// other first, and spill them.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn accumulate(mut sums: Sums, products: Sums) -> Sums {
    // SAFETY: the instruction reads and writes the registers that it names, and nothing else.
    unsafe {
        core::arch::asm!(
            "vpaddd {sums}, {sums}, {products}",
            sums = inout(ymm_reg) sums,
            products = in(ymm_reg) products,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The dot product of this module, which adds to the sums in the order of the source.
pub mod in_order {
    use super::*;

    /// Adds four products to each sum.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let sums = accumulate(sums, _mm256_madd_epi16(quads[0], weights[0]));
        accumulate(sums, _mm256_madd_epi16(quads[1], weights[1]))
    }
}

/// Dot products of bytes, whose products are added in pairs with saturation to 16 bits. Packing limits the weights so
/// that no pair saturates.
pub mod pairs {
    use super::*;

    /// Four activations per lane, as bytes.
    pub type Quads = __m256i;
    /// Four weights per lane, as signed bytes.
    pub type Weights = __m256i;

    /// Returns the four bytes at `at` in every lane.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
        _mm256_set1_epi32(from.word(at))
    }

    /// Bytes that [`weights`] reads: `[lane][4]`, signed.
    pub const WEIGHTS: usize = 32;

    /// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
        vector(from, at)
    }

    /// Adds four products to each sum.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let pairs = _mm256_maddubs_epi16(quads, weights);
        accumulate(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

/// The fast inner product of 16-bit numbers (Winograd 1968). Two products take one multiplication and two additions.
///
/// Activations are those that `widen` writes.
pub mod fast {
    use super::*;

    /// In each lane, the even and the odd ones of four activations.
    pub type Quads = [__m256i; 2];
    /// In each lane, the odd and the even ones of four weights.
    pub type Weights = [__m256i; 2];

    /// Returns the four activations at byte `at` in every lane.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
        [_mm256_set1_epi32(from.word(at)), _mm256_set1_epi32(from.word(at + 4))]
    }

    /// Returns the weights of a vector of lanes, `[lane][w1, w3]` and `[lane][w0, w2]`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
        [vector(from, at), vector(from, at + 32)]
    }

    /// Adds four products to each sum, and the products of both pairs of activations and of both pairs of weights.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let [even, odd] = [_mm256_add_epi16(quads[0], weights[0]), _mm256_add_epi16(quads[1], weights[1])];
        accumulate(sums, _mm256_madd_epi16(even, odd))
    }

    /// Subtracts the integer at byte `at` from each sum.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn minus(sums: Sums, from: Src<'_, u8>, at: usize) -> Sums {
        _mm256_sub_epi32(sums, _mm256_set1_epi32(from.word(at)))
    }
}
