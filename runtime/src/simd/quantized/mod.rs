//! Vectors of quantized kernels under one vocabulary: one module per instruction set.
//!
//! Activations are bytes from 0 to 255, `Src<'_, u8>`. Those of int8 networks are stored with 128 added, so that one
//! kernel serves both types and products are of unsigned activations and signed weights. Sums are exact 32-bit integers
//! on every instruction set. `steps` converts them to results as `quant::Requantize` does in XNNPACK's rounding, and
//! `steps_by_multiplier` as in the rounding of TensorFlow Lite's reference kernels.
//!
//! | type      | content per lane                                                              |
//! |-----------|-------------------------------------------------------------------------------|
//! | `Sums`    | an i32                                                                        |
//! | `Scales`  | an f32                                                                        |
//! | `Multipliers` | a `quant::Fixed`: multipliers and exponents, stored in separate rows        |
//! | `Quads`   | four activations, ready for `dot`                                             |
//! | `Weights` | the four weights that they are multiplied by; `WEIGHTS` bytes in memory       |
//! | `Packed`  | four results, from four `Sums`: `[lanes / 4][result][4 lanes]`                |

/// Zero point and limits of a layer's results, from its packed header.
#[derive(Debug, Clone, Copy)]
pub struct Range<V> {
    /// Zero point: added to the steps.
    pub zero: V,
    /// Least result.
    pub low: V,
    /// Greatest result.
    pub high: V,
}

/// Parameters of a residual add: `(bias + left * a + right * b) >> shift`.
#[derive(Debug, Clone, Copy)]
pub struct Addends<V> {
    /// Factor of `a`, the residual's byte.
    pub left: V,
    /// Factor of `b`, a projection's result minus its zero point.
    pub right: V,
    /// Half of the divisor of the shift, minus the contribution of the residual's zero point.
    pub bias: V,
    /// Right shift of the sum.
    pub shift: i32,
    /// Lower limit of `b`.
    pub low: V,
    /// Upper limit of `b`.
    pub high: V,
}

/// Parameters of a residual add of the reference kernels; `M` is a factor.
#[derive(Debug, Clone, Copy)]
pub struct FixedAddends<V, M> {
    /// The zero point of `a`, the residual's byte.
    pub zero: V,
    /// The factor of `a`.
    pub left: M,
    /// Lower limit of `b`, a projection's result minus its zero point.
    pub low: V,
    /// Upper limit of `b`.
    pub high: V,
    /// The factor of `b`.
    pub right: M,
    /// The factor of the sum of both.
    pub sum: M,
}

/// Bias of the sums of layers whose results are never negative: `BIAS + sum` is the bit pattern of the float `2^23 +
/// sum`, which one multiply-add, or a subtraction and a multiplication, scales. Packing proves for each channel that all
/// sums are in the range in which this is exact.
pub const BIAS: i32 = 0x4b00_0000;

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod avx512vnni;
#[cfg(target_arch = "x86_64")]
pub mod avxvnni;
pub mod dsp;
#[cfg(test)]
mod fixed_point_tests;
mod header;
#[cfg(target_arch = "aarch64")]
pub mod neon;
#[cfg(target_arch = "aarch64")]
pub mod neondot;
pub mod portable;
#[cfg(all(test, any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod product_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub mod wasm128;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub mod wasm128dot;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub mod wasm128pairs;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod xmm;
#[cfg(target_arch = "x86_64")]
mod ymm;
#[cfg(target_arch = "x86_64")]
mod zmm;
