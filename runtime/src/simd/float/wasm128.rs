//! WebAssembly with SIMD128: four floats. Products are rounded before they are added.

use core::arch::wasm32::*;

use crate::bf16::Bf16;
use crate::simd::{Dst, Src};

/// Four floats.
pub type Vector = v128;
/// Floats in a vector.
pub const LANES: usize = 4;

/// Returns `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    unsafe { v128_load(from.address(at, LANES).cast()) }
}

/// Returns the first `N` floats from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load_first<const N: usize>(from: Src<'_>, at: usize) -> Vector {
    let mut lanes = [0.0_f32; LANES];
    // SAFETY: both ranges hold `N <= LANES` floats; otherwise as in `load`.
    unsafe {
        core::ptr::copy_nonoverlapping(from.address(at, N), lanes[..N].as_mut_ptr(), N);
        v128_load(lanes.as_ptr().cast())
    }
}

/// Returns the float at `at` in every lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn splat(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    unsafe { v128_load32_splat(from.address(at, 1).cast()) }
}

/// Returns `value` in every lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn constant(value: f32) -> Vector {
    f32x4_splat(value)
}

/// Writes `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { v128_store(to.address(at, LANES).cast(), value) }
}

/// Writes the first `N` lanes from `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_first<const N: usize>(to: &mut Dst<'_>, at: usize, value: Vector) {
    let mut lanes = [0.0_f32; LANES];
    // SAFETY: both ranges hold `N <= LANES` floats; otherwise as in `load`.
    unsafe {
        v128_store(lanes.as_mut_ptr().cast(), value);
        core::ptr::copy_nonoverlapping(lanes[..N].as_ptr(), to.address(at, N), N);
    }
}

/// `x * w + sum`, rounded twice.
#[inline]
#[target_feature(enable = "simd128")]
pub fn fma(x: Vector, w: Vector, sum: Vector) -> Vector {
    add(mul(x, w), sum)
}

/// `a + b`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn add(a: Vector, b: Vector) -> Vector {
    f32x4_add(a, b)
}

/// `a * b`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn mul(a: Vector, b: Vector) -> Vector {
    f32x4_mul(a, b)
}

// LLVM compiles a pseudo-minimum or -maximum to one instruction if its result is used as floats, otherwise to a comparison and a
// selection. The functions below subtract zero from the result to mark it as floats; LLVM removes the subtraction. With relaxed SIMD,
// LLVM 22 emits relaxed minima and maxima, whose result for NaN depends on the engine.

/// `max(v, 0)`; without relaxed SIMD, NaN gives 0.
#[inline]
#[target_feature(enable = "simd128")]
pub fn relu(v: Vector) -> Vector {
    // The pseudo-maximum is its first operand unless that is less than the second one.
    f32x4_sub(f32x4_pmax(f32x4_splat(0.0), v), f32x4_splat(0.0))
}

/// `min(max(v, 0), 6)`; without relaxed SIMD, NaN gives 0.
#[inline]
#[target_feature(enable = "simd128")]
pub fn relu6(v: Vector) -> Vector {
    let positive = f32x4_pmax(f32x4_splat(0.0), v);
    f32x4_sub(f32x4_pmin(f32x4_splat(6.0), positive), f32x4_splat(0.0))
}

/// Four pairs of bf16 numbers.
pub type Pairs = v128;

/// Returns `LANES` pairs from `at`, each in place of a float.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load_pairs(from: Src<'_>, at: usize) -> Pairs {
    load(from, at)
}

/// Returns the pair at `at` in every lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn splat_pair(from: Src<'_, Bf16>, at: usize) -> Pairs {
    // SAFETY: as in `load`; a pair is two numbers.
    unsafe { v128_load32_splat(from.address(at, 2).cast()) }
}

/// Returns the number at `at`, paired with zero, in every lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn splat_single(from: Src<'_, Bf16>, at: usize) -> Pairs {
    u32x4_splat(u32::from(from.get(at).to_bits()))
}

/// Returns the first number of each pair.
#[inline]
#[target_feature(enable = "simd128")]
pub fn even(pairs: Pairs) -> Vector {
    u32x4_shl(pairs, 16)
}

/// Returns the second number of each pair.
#[inline]
#[target_feature(enable = "simd128")]
pub fn odd(pairs: Pairs) -> Vector {
    v128_and(pairs, u32x4_splat(0xffff_0000))
}

/// Adds both products of each pair to `sum`, the second one first. A product of bf16 numbers is exact.
#[inline]
#[target_feature(enable = "simd128")]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    fma(even(x), even(w), fma(odd(x), odd(w), sum))
}

/// Returns `LANES` bf16 numbers from `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load_bf16(from: Src<'_, Bf16>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    even(unsafe { u32x4_load_extend_u16x4(from.address(at, LANES).cast()) })
}

/// Returns the first `N` bf16 numbers from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load_bf16_first<const N: usize>(from: Src<'_, Bf16>, at: usize) -> Vector {
    let mut lanes = [Bf16::ZERO; LANES];
    // SAFETY: both ranges hold `N <= LANES` numbers; otherwise as in `load`.
    unsafe {
        core::ptr::copy_nonoverlapping(from.address(at, N), lanes[..N].as_mut_ptr(), N);
        even(u32x4_load_extend_u16x4(lanes.as_ptr().cast()))
    }
}

/// Writes `LANES` numbers from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_bf16(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { v128_store64_lane::<0>(narrow(value), to.address(at, LANES).cast()) }
}

/// Writes the first `N` lanes from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_bf16_first<const N: usize>(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    let mut lanes = [Bf16::ZERO; LANES];
    // SAFETY: both ranges hold `N <= LANES` numbers; otherwise as in `load`.
    unsafe {
        v128_store64_lane::<0>(narrow(value), lanes.as_mut_ptr().cast());
        core::ptr::copy_nonoverlapping(lanes[..N].as_ptr(), to.address(at, N), N);
    }
}

/// Rounds to bf16, as [`Bf16::from_f32`], in the low half of a vector.
#[inline]
#[target_feature(enable = "simd128")]
fn narrow(value: Vector) -> v128 {
    let subnormal = i32x4_eq(v128_and(value, u32x4_splat(0x7f80_0000)), u32x4_splat(0));
    let bits = v128_andnot(value, v128_and(subnormal, u32x4_splat(0x7fff_ffff)));
    let tie = v128_and(u32x4_shr(bits, 16), u32x4_splat(1));
    // Signed, because LLVM compiles unsigned narrowing to two more instructions.
    let halves = i32x4_shr(i32x4_add(bits, i32x4_add(tie, u32x4_splat(0x7fff))), 16);
    i16x8_narrow_i32x4(halves, halves)
}
