//! NEON: four floats, thirty-two registers, multiplication by a lane.

use core::arch::aarch64::*;

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
