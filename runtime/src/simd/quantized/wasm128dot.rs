//! WebAssembly with relaxed SIMD, on engines whose dot product of bytes is exact: four products of unsigned activations
//! and signed weights in one instruction.
//!
//! The specification leaves open how activations of more than seven bits are multiplied. [`is_exact`] finds out what
//! the engine does; V8 uses the instruction of AVX-VNNI where the processor has it.

use core::arch::wasm32::*;

pub use super::wasm128::*;
use super::wasm128::{four, halves, vector};
use crate::simd::Src;

/// Four activations per lane, as bytes.
pub type Quads = v128;
/// Four weights per lane, as signed bytes.
pub type Weights = v128;

/// Returns whether [`dot`] is exact in this engine.
pub fn is_exact() -> bool {
    // The sums of two products that other implementations saturate to 16 bits, or interpret as negative.
    const EXTREMES: [(i8, u8); 4] = [(i8::MAX, 255), (i8::MIN, 255), (i8::MIN, 128), (1, 129)];
    is_exact_for(EXTREMES, |quads, weights| dot(quads, weights, none()))
}

/// Returns whether `dot` is exact for each weight and activation of `extremes`, repeated four times.
pub(super) fn is_exact_for(extremes: [(i8, u8); 4], dot: impl Fn(v128, v128) -> v128) -> bool {
    extremes.into_iter().all(|(weight, activation)| {
        let [weights, quads] = [i8x16_splat(weight), u8x16_splat(activation)].map(core::hint::black_box);
        let expected = i32x4_splat(4 * i32::from(weight) * i32::from(activation));
        i32x4_all_true(i32x4_eq(dot(quads, weights), expected))
    })
}

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "simd128,relaxed-simd")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    four(from, at)
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "simd128,relaxed-simd")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    vector(from, at)
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "simd128,relaxed-simd")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    halves(above, below, at)
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
    i32x4_relaxed_dot_i8x16_i7x16_add(weights, quads, sums)
}
