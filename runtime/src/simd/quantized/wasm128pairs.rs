//! WebAssembly with relaxed SIMD, on engines whose dot product of bytes multiplies unsigned activations by signed weights
//! and adds the products in pairs, with saturation to 16 bits. Products of channel quads use it; all others are those of
//! `wasm128`.
//!
//! The specification leaves open how activations of more than seven bits are multiplied. [`is_exact`] tests the engine.
//! V8 on x86-64 compiles the instruction to `vpmaddubsw`.

pub use super::wasm128::*;
use super::wasm128dot::is_exact_for;

/// Returns whether pairs that do not saturate are exact in this engine.
pub fn is_exact() -> bool {
    // Pairs near the limits of 16 bits, and activations that other implementations interpret as negative.
    const EXTREMES: [(i8, u8); 4] = [(64, 255), (-64, 255), (-64, 128), (1, 129)];
    is_exact_for(EXTREMES, |quads, weights| pairs::dot(quads, weights, none()))
}

/// Dot products of bytes, whose products are added in pairs with saturation to 16 bits. Packing limits the weights so
/// that no pair saturates.
pub mod pairs {
    use core::arch::wasm32::*;

    use super::Sums;
    pub use crate::simd::quantized::wasm128dot::{Quads, WEIGHTS, Weights, broadcast, weights};

    /// Adds four products to each sum.
    #[inline]
    #[target_feature(enable = "simd128,relaxed-simd")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let pairs = i16x8_relaxed_dot_i8x16_i7x16(weights, quads);
        i32x4_add(sums, i32x4_dot_i16x8(pairs, i16x8_splat(1)))
    }
}
