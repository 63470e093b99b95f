//! NEON: four floats, thirty-two registers, multiplication by a lane.

use core::arch::aarch64::*;

use crate::bf16::Bf16;
use crate::simd::{Dst, Src};

/// Four floats.
pub type Vector = float32x4_t;
/// Floats in a vector.
pub const LANES: usize = 4;

/// Returns `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "neon")]
pub fn load(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    unsafe { vld1q_f32(from.address(at, LANES)) }
}

/// Returns the first `N` floats from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "neon")]
pub fn load_first<const N: usize>(from: Src<'_>, at: usize) -> Vector {
    let mut lanes = [0.0; LANES];
    // SAFETY: both ranges hold `N <= LANES` floats; otherwise as in `load`.
    unsafe {
        core::ptr::copy_nonoverlapping(from.address(at, N), lanes[..N].as_mut_ptr(), N);
        vld1q_f32(lanes.as_ptr())
    }
}

/// Returns the float at `at` in every lane.
#[inline]
#[target_feature(enable = "neon")]
pub fn splat(from: Src<'_>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    unsafe { vld1q_dup_f32(from.address(at, 1)) }
}

/// Returns `value` in every lane.
#[inline]
#[target_feature(enable = "neon")]
pub fn constant(value: f32) -> Vector {
    vdupq_n_f32(value)
}

/// Writes `LANES` floats from `at`.
#[inline]
#[target_feature(enable = "neon")]
pub fn store(to: &mut Dst<'_>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { vst1q_f32(to.address(at, LANES), value) }
}

/// Writes the first `N` lanes from `at`.
#[inline]
#[target_feature(enable = "neon")]
pub fn store_first<const N: usize>(to: &mut Dst<'_>, at: usize, value: Vector) {
    let mut lanes = [0.0; LANES];
    // SAFETY: both ranges hold `N <= LANES` floats; otherwise as in `load`.
    unsafe {
        vst1q_f32(lanes.as_mut_ptr(), value);
        core::ptr::copy_nonoverlapping(lanes[..N].as_ptr(), to.address(at, N), N);
    }
}

/// `x * w + sum`, rounded once.
#[inline]
#[target_feature(enable = "neon")]
pub fn fma(x: Vector, w: Vector, sum: Vector) -> Vector {
    vfmaq_f32(sum, x, w)
}

/// `x[LANE] * w + sum`, rounded once.
#[inline]
#[target_feature(enable = "neon")]
pub fn fma_lane<const LANE: i32>(x: Vector, w: Vector, sum: Vector) -> Vector {
    vfmaq_laneq_f32::<LANE>(sum, w, x)
}

/// `a + b`.
#[inline]
#[target_feature(enable = "neon")]
pub fn add(a: Vector, b: Vector) -> Vector {
    vaddq_f32(a, b)
}

/// `a * b`.
#[inline]
#[target_feature(enable = "neon")]
pub fn mul(a: Vector, b: Vector) -> Vector {
    vmulq_f32(a, b)
}

/// `max(v, 0)`; NaN gives 0.
#[inline]
#[target_feature(enable = "neon")]
pub fn relu(v: Vector) -> Vector {
    vmaxnmq_f32(v, vdupq_n_f32(0.0))
}

/// `min(max(v, 0), 6)`; NaN gives 0.
#[inline]
#[target_feature(enable = "neon")]
pub fn relu6(v: Vector) -> Vector {
    vminq_f32(relu(v), vdupq_n_f32(6.0))
}

/// Four pairs of bf16 numbers.
pub type Pairs = uint32x4_t;

/// Returns `LANES` pairs from `at`; a pair takes the space of one float.
#[inline]
#[target_feature(enable = "neon")]
pub fn load_pairs(from: Src<'_>, at: usize) -> Pairs {
    vreinterpretq_u32_f32(load(from, at))
}

/// Returns the pair at `at` in every lane.
#[inline]
#[target_feature(enable = "neon")]
pub fn splat_pair(from: Src<'_, Bf16>, at: usize) -> Pairs {
    // SAFETY: as in `load`; a pair is two numbers.
    vdupq_n_u32(unsafe { from.address(at, 2).cast::<u32>().read_unaligned() })
}

/// Returns the number at `at`, paired with zero, in every lane.
#[inline]
#[target_feature(enable = "neon")]
pub fn splat_single(from: Src<'_, Bf16>, at: usize) -> Pairs {
    vdupq_n_u32(u32::from(from.get(at).to_bits()))
}

/// Returns the first number of each pair.
#[inline]
#[target_feature(enable = "neon")]
pub fn even(pairs: Pairs) -> Vector {
    vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs))
}

/// Returns the second number of each pair.
#[inline]
#[target_feature(enable = "neon")]
pub fn odd(pairs: Pairs) -> Vector {
    vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff_0000)))
}

/// Adds both products of each pair to `sum`, the second one first. A product of bf16 numbers is exact.
#[inline]
#[target_feature(enable = "neon")]
pub fn dot(x: Pairs, w: Pairs, sum: Vector) -> Vector {
    fma(even(x), even(w), fma(odd(x), odd(w), sum))
}

/// Returns `LANES` bf16 numbers from `at`.
#[inline]
#[target_feature(enable = "neon")]
pub fn load_bf16(from: Src<'_, Bf16>, at: usize) -> Vector {
    // SAFETY: as in `load`.
    widen(unsafe { vld1_u16(from.address(at, LANES).cast()) })
}

/// Returns the first `N` bf16 numbers from `at`, with zeros in the other lanes.
#[inline]
#[target_feature(enable = "neon")]
pub fn load_bf16_first<const N: usize>(from: Src<'_, Bf16>, at: usize) -> Vector {
    let mut lanes = [Bf16::ZERO; LANES];
    // SAFETY: both ranges hold `N <= LANES` numbers; otherwise as in `load`.
    unsafe {
        core::ptr::copy_nonoverlapping(from.address(at, N), lanes[..N].as_mut_ptr(), N);
        widen(vld1_u16(lanes.as_ptr().cast()))
    }
}

/// Writes `LANES` numbers from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "neon")]
pub fn store_bf16(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    // SAFETY: as in `load`.
    unsafe { vst1_u16(to.address(at, LANES).cast(), narrow(value)) }
}

/// Writes the first `N` lanes from `at`, rounded to bf16.
#[inline]
#[target_feature(enable = "neon")]
pub fn store_bf16_first<const N: usize>(to: &mut Dst<'_, Bf16>, at: usize, value: Vector) {
    let mut lanes = [Bf16::ZERO; LANES];
    // SAFETY: both ranges hold `N <= LANES` numbers; otherwise as in `load`.
    unsafe {
        vst1_u16(lanes.as_mut_ptr().cast(), narrow(value));
        core::ptr::copy_nonoverlapping(lanes[..N].as_ptr(), to.address(at, N), N);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn widen(numbers: uint16x4_t) -> Vector {
    even(vmovl_u16(numbers))
}

/// Rounds to bf16, as [`Bf16::from_f32`].
#[inline]
#[target_feature(enable = "neon")]
fn narrow(value: Vector) -> uint16x4_t {
    let bits = vreinterpretq_u32_f32(value);
    let normal = vtstq_u32(bits, vdupq_n_u32(0x7f80_0000));
    let bits = vandq_u32(bits, vorrq_u32(normal, vdupq_n_u32(0x8000_0000)));
    let tie = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
    let rounded = vaddq_u32(bits, vaddq_u32(tie, vdupq_n_u32(0x7fff)));
    vmovn_u32(vshrq_n_u32::<16>(rounded))
}
