//! WebAssembly with relaxed SIMD: the functions of SIMD128, with multiply-adds in one instruction.
//!
//! The specification lets the engine round once or twice. Engines round once on processors with a
//! fused multiply-add, which are all 64-bit Arm processors and x86-64 processors with FMA.

use core::arch::wasm32::f32x4_relaxed_madd;

pub use super::wasm128::*;

/// `x * w + sum`, rounded once on processors with a fused multiply-add.
#[inline]
#[target_feature(enable = "simd128,relaxed-simd")]
pub fn fma(x: Vector, w: Vector, sum: Vector) -> Vector {
    f32x4_relaxed_madd(x, w, sum)
}

/// Adds both products of each pair to `sum`, the second one first. A product of bf16 numbers is exact.
#[inline]
#[target_feature(enable = "simd128,relaxed-simd")]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    fma(even(x), even(w), fma(odd(x), odd(w), sum))
}
