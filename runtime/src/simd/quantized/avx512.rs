//! AVX-512 without VNNI: activations widened to 16 bits, two products per instruction, without saturation.

super::x86::x86!(zmm, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl");

/// The even and the odd bytes of each lane, as 16-bit numbers.
pub type Quads = [__m512i; 2];
/// The even and the odd weights of each lane, as 16-bit numbers.
pub type Weights = [__m512i; 2];

#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn split(bytes: __m512i) -> Quads {
    [_mm512_and_si512(bytes, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(bytes)]
}

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    split(_mm512_set1_epi32(from.word(at)))
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    split(vector(from, at))
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    split(_mm512_mask_blend_epi16(0x5555_5555, vector(above, at), vector(below, at)))
}

/// Bytes that [`weights`] reads: two vectors of 16-bit numbers, `[lane][w0, w2]` and `[lane][w1, w3]`.
pub const WEIGHTS: usize = 128;

/// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    [vector(from, at), vector(from, at + 64)]
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    let even = _mm512_madd_epi16(quads[0], weights[0]);
    let odd = _mm512_madd_epi16(quads[1], weights[1]);
    _mm512_add_epi32(_mm512_add_epi32(sums, even), odd)
}

/// Adds products to sums, in the order of the source. The compiler would add the products of several dot products to each
/// other first, and spill them.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn accumulate(mut sums: Sums, products: Sums) -> Sums {
    // SAFETY: the instruction reads and writes the registers that it names, and nothing else.
    unsafe {
        core::arch::asm!(
            "vpaddd {sums}, {sums}, {products}",
            sums = inout(zmm_reg) sums,
            products = in(zmm_reg) products,
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
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let sums = accumulate(sums, _mm512_madd_epi16(quads[0], weights[0]));
        accumulate(sums, _mm512_madd_epi16(quads[1], weights[1]))
    }
}

/// Dot products of bytes, whose products are added in pairs with saturation to 16 bits. Packing limits the weights so
/// that no pair saturates.
pub mod pairs {
    use super::*;

    /// Four activations per lane, as bytes.
    pub type Quads = __m512i;
    /// Four weights per lane, as signed bytes.
    pub type Weights = __m512i;

    /// Returns the four bytes at `at` in every lane.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
        _mm512_set1_epi32(from.word(at))
    }

    /// Bytes that [`weights`] reads: `[lane][4]`, signed.
    pub const WEIGHTS: usize = 64;

    /// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
        vector(from, at)
    }

    /// Adds four products to each sum.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let pairs = _mm512_maddubs_epi16(quads, weights);
        accumulate(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
    }
}

/// The fast inner product of 16-bit numbers (Winograd 1968). Two products take one multiplication and two additions.
///
/// Activations are those that `widen` writes.
pub mod fast {
    use super::*;

    /// In each lane, the even and the odd ones of four activations.
    pub type Quads = [__m512i; 2];
    /// In each lane, the odd and the even ones of four weights.
    pub type Weights = [__m512i; 2];

    /// Returns the four activations at byte `at` in every lane.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
        [_mm512_set1_epi32(from.word(at)), _mm512_set1_epi32(from.word(at + 4))]
    }

    /// Returns the weights of a vector of lanes, `[lane][w1, w3]` and `[lane][w0, w2]`.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
        [vector(from, at), vector(from, at + 64)]
    }

    /// Adds four products to each sum, and the products of both pairs of activations and of both pairs of weights.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let [even, odd] = [_mm512_add_epi16(quads[0], weights[0]), _mm512_add_epi16(quads[1], weights[1])];
        accumulate(sums, _mm512_madd_epi16(even, odd))
    }

    /// Subtracts the integer at byte `at` from each sum.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn minus(sums: Sums, from: Src<'_, u8>, at: usize) -> Sums {
        _mm512_sub_epi32(sums, _mm512_set1_epi32(from.word(at)))
    }
}

/// Vectors of half the width, for the last few channels.
pub use super::avx2 as half;
