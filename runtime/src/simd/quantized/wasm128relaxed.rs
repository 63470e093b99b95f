//! WebAssembly with relaxed SIMD: the vocabulary of SIMD128. The results of relaxed dot products depend on the processor
//! if activations have eight bits.

pub use super::wasm128::*;
