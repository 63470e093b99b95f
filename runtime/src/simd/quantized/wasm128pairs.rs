//! WebAssembly with relaxed SIMD, on engines whose dot product of bytes adds unsigned activations times signed weights in
//! pairs with saturation to 16 bits. Products of channel quads use it; all others are those of `wasm128`.
//!
//! The specification leaves open how activations of more than seven bits are multiplied. [`is_exact`] finds out what
//! the engine does; those on x86-64 processors use `vpmaddubsw`.

use core::arch::wasm32::*;
use core::hint::black_box;

pub use super::wasm128::*;

/// Returns whether pairs that do not saturate are exact in this engine.
pub fn is_exact() -> bool {
    // Pairs near the limits of 16 bits, and activations that other implementations take for negative.
    const EXTREMES: [(i8, u8); 4] = [(64, 255), (-64, 255), (-64, 128), (1, 129)];
    EXTREMES.iter().all(|(weight, activation)| {
        let [weights, quads] = [i8x16_splat(*weight), u8x16_splat(*activation)].map(black_box);
        let sums = pairs::dot(quads, weights, none());
        let expected = i32x4_splat(4 * i32::from(*weight) * i32::from(*activation));
        i32x4_all_true(i32x4_eq(sums, expected))
    })
}

/// Dot products of bytes, whose products are added in pairs with saturation to 16 bits. Packing limits the weights so
/// that no pair saturates.
pub mod pairs {
    use super::super::wasm128::{Sums, four, vector};
    use super::*;
    use crate::simd::Src;

    /// Four activations per lane, as bytes.
    pub type Quads = v128;
    /// Four weights per lane, as signed bytes.
    pub type Weights = v128;

    /// Returns the four bytes at `at` in every lane.
    #[inline]
    #[target_feature(enable = "simd128,relaxed-simd")]
    pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
        four(from, at)
    }

    /// Bytes that [`weights`] reads: `[lane][4]`, signed.
    pub const WEIGHTS: usize = 16;

    /// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
    #[inline]
    #[target_feature(enable = "simd128,relaxed-simd")]
    pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
        vector(from, at)
    }

    /// Adds four products to each sum.
    #[inline]
    #[target_feature(enable = "simd128,relaxed-simd")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let pairs = i16x8_relaxed_dot_i8x16_i7x16(weights, quads);
        i32x4_add(sums, i32x4_dot_i16x8(pairs, i16x8_splat(1)))
    }
}
