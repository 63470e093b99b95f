//! Plain Rust: four floats that the optimizer keeps in vectors of the target, if it has any.
//!
//! Products are rounded before they are added, because a fused multiply-add would be a library call on targets without
//! the instruction.

use crate::bf16::Bf16;
use crate::simd::{Dst, Src};

/// Four floats.
#[derive(Clone, Copy)]
pub struct Vector([f32; LANES]);

/// Floats in a vector.
pub const LANES: usize = 4;

/// Returns `LANES` floats from `at`.
#[inline(always)]
pub fn load(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    Vector(unsafe { from.address(at, LANES).cast::<[f32; LANES]>().read_unaligned() })
}

/// Returns the first `N` floats from `at`, with zeros in the other lanes.
#[inline(always)]
pub fn load_first<const N: usize>(from: Src<'_>, at: usize) -> Vector {
    let mut lanes = [0.0; LANES];
    // SAFETY: as in `load`.
    lanes[..N].copy_from_slice(unsafe { core::slice::from_raw_parts(from.address(at, N), N) });
    Vector(lanes)
}

/// Returns the float at `at` in every lane.
#[inline(always)]
pub fn splat(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    Vector([unsafe { *from.address(at, 1) }; LANES])
}

/// Returns `value` in every lane.
#[inline(always)]
pub fn constant(value: f32) -> Vector {
    Vector([value; LANES])
}

/// Writes `LANES` floats from `at`.
#[inline(always)]
pub fn store(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { to.address(at, LANES).cast::<[f32; LANES]>().write_unaligned(value.0) }
}

/// Writes the first `N` lanes from `at`.
#[inline(always)]
pub fn store_first<const N: usize>(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { core::slice::from_raw_parts_mut(to.address(at, N), N) }.copy_from_slice(&value.0[..N]);
}

/// `x * w + sum`, rounded twice.
#[inline(always)]
pub fn fma(x: Vector, w: Vector, sum: Vector) -> Vector {
    Vector(core::array::from_fn(|lane| x.0[lane] * w.0[lane] + sum.0[lane]))
}

/// `a + b`.
#[inline(always)]
pub fn add(a: Vector, b: Vector) -> Vector {
    Vector(core::array::from_fn(|lane| a.0[lane] + b.0[lane]))
}

/// `a * b`.
#[inline(always)]
pub fn mul(a: Vector, b: Vector) -> Vector {
    Vector(core::array::from_fn(|lane| a.0[lane] * b.0[lane]))
}

/// `max(v, 0)`; NaN gives 0.
#[inline(always)]
pub fn relu(v: Vector) -> Vector {
    Vector(v.0.map(|x| if x > 0.0 { x } else { 0.0 }))
}

/// `min(max(v, 0), 6)`; NaN gives 0.
#[inline(always)]
pub fn relu6(v: Vector) -> Vector {
    Vector(relu(v).0.map(|x| if x < 6.0 { x } else { 6.0 }))
}

/// Four pairs of bf16 numbers.
#[derive(Clone, Copy)]
pub struct Pairs([u32; LANES]);

/// Returns `LANES` pairs from `at`; a pair takes the space of one float.
#[inline(always)]
pub fn load_pairs(from: Src<'_>, at: usize) -> Pairs {
    Pairs(load(from, at).0.map(f32::to_bits))
}

/// Returns the pair at `at` in every lane.
#[inline(always)]
pub fn splat_pair(from: Src<'_, Bf16>, at: usize) -> Pairs {
    // SAFETY: as in `load`.
    let [even, odd] = unsafe { from.address(at, 2).cast::<[Bf16; 2]>().read_unaligned() };
    Pairs([u32::from(even.to_bits()) | u32::from(odd.to_bits()) << 16; LANES])
}

/// Returns the number at `at`, paired with zero, in every lane.
#[inline(always)]
pub fn splat_single(from: Src<'_, Bf16>, at: usize) -> Pairs {
    Pairs([u32::from(from.get(at).to_bits()); LANES])
}

/// Returns the first number of each pair.
#[inline(always)]
pub fn even(pairs: Pairs) -> Vector {
    Vector(pairs.0.map(|pair| f32::from_bits(pair << 16)))
}

/// Returns the second number of each pair.
#[inline(always)]
pub fn odd(pairs: Pairs) -> Vector {
    Vector(pairs.0.map(|pair| f32::from_bits(pair & 0xffff_0000)))
}

/// Adds both products of each pair to `sum`, the second one first. A product of bf16 numbers is exact.
#[inline(always)]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    fma(even(x), even(w), fma(odd(x), odd(w), sum))
}

/// Returns `LANES` bf16 numbers from `at`.
#[inline(always)]
pub fn load_bf16(from: Src<'_, Bf16>, at: usize) -> Vector {
    load_bf16_first::<LANES>(from, at)
}

/// Returns the first `N` bf16 numbers from `at`, with zeros in the other lanes.
#[inline(always)]
pub fn load_bf16_first<const N: usize>(from: Src<'_, Bf16>, at: usize) -> Vector {
    let mut lanes = [Bf16::ZERO; LANES];
    // SAFETY: as in `load`.
    lanes[..N].copy_from_slice(unsafe { core::slice::from_raw_parts(from.address(at, N), N) });
    Vector(lanes.map(Bf16::to_f32))
}

/// Writes `LANES` numbers from `at`, rounded to bf16.
#[inline(always)]
pub fn store_bf16(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    store_bf16_first::<LANES>(to, at, value);
}

/// Writes the first `N` lanes from `at`, rounded to bf16.
#[inline(always)]
pub fn store_bf16_first<const N: usize>(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    let lanes = value.0.map(Bf16::from_f32);
    // SAFETY: as in `load`.
    unsafe { core::slice::from_raw_parts_mut(to.address(at, N), N) }.copy_from_slice(&lanes[..N]);
}
