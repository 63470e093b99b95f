//! Vectors of float32: one module per instruction set.

#[cfg(target_arch = "x86_64")]
pub mod amxbf16;
#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod avx512bf16;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub mod wasm128;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub mod wasm128relaxed;

#[cfg(all(test, feature = "std"))]
mod bf16_tests;

#[cfg(all(test, feature = "std", target_arch = "x86_64"))]
mod amxbf16_tests;
