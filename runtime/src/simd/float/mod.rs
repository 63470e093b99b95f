//! Vectors of float32: one module per instruction set.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod avx512bf16;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

#[cfg(all(test, feature = "std"))]
mod bf16_tests;
