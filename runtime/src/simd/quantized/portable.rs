//! Plain Rust: four lanes. This module and `header` define the vocabulary.

use core::convert::identity;

use super::{Addends as AddendsOf, FixedAddends as FixedAddendsOf, Range as Limits};
use crate::quantized::arithmetic::{Fixed, LEFT_SHIFT, round_ties_even};
use crate::simd::{Dst, Src};

/// Lanes of a vector.
pub const LANES: usize = 4;

/// One integer per lane.
#[derive(Clone, Copy)]
pub struct Sums([i32; LANES]);
/// One float per lane.
#[derive(Clone, Copy)]
pub struct Scales([f32; LANES]);
/// One factor per lane.
#[derive(Clone, Copy)]
pub struct Multipliers([Fixed; LANES]);
/// Four activations per lane, the first in the low byte.
#[derive(Clone, Copy)]
pub struct Quads([u32; LANES]);
/// Four weights per lane, signed bytes, the first in the low byte.
#[derive(Clone, Copy)]
pub struct Weights([i32; LANES]);
/// Four results per lane: `[result][lane]`.
#[derive(Clone, Copy)]
pub struct Packed([[u8; LANES]; 4]);
/// Zero point and limits of a header.
pub type Range = Limits<i32>;
/// Parameters of a residual add of a header.
pub type Addends = AddendsOf<i32>;
/// Parameters of a residual add of the reference kernels of a header.
pub type FixedAddends = FixedAddendsOf<i32, Fixed>;

/// Returns `value` of each lane. A plain loop, because compilers do not inline the closures of `map` and `from_fn`
/// here.
#[inline(always)]
fn lanes<T: Copy + Default>(value: impl Fn(usize) -> T) -> [T; LANES] {
    let mut all = [T::default(); LANES];
    let mut lane = 0;
    while lane < LANES {
        all[lane] = value(lane);
        lane += 1;
    }
    all
}

#[inline(always)]
fn fixed(multiplier: i32, exponent: i32) -> Fixed {
    Fixed { multiplier, exponent }
}

super::header::header! {
    #[inline(always)]
    identity, fixed
}

/// Writes, for each of four pixels, the byte at `at` of the three rows and a zero. Pixels have a stride of `PIXEL`
/// bytes.
///
/// Does not read beyond the last pixel's byte.
#[inline(always)]
pub fn store_ends<const PIXEL: usize>(rows: [Src<'_, u8>; 3], at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
    for pixel in 0..4 {
        let [a, b, c] = rows.map(|row| row.get(at + pixel * PIXEL));
        to.write(to_at + pixel * 4, [a, b, c, 0]);
    }
}

/// Returns a vector of zeros.
#[inline(always)]
pub fn none() -> Sums {
    Sums([0; LANES])
}

/// Returns `LANES` integers from byte `at`.
#[inline(always)]
pub fn load_sums(from: Src<'_, u8>, at: usize) -> Sums {
    Sums(lanes(|lane| from.word(at + lane * 4)))
}

/// Writes `LANES` integers from byte `at`.
#[inline(always)]
pub fn store_sums(to: &mut Dst<'_, u8>, at: usize, sums: Sums) {
    for (lane, sum) in sums.0.into_iter().enumerate() {
        to.write(at + lane * 4, sum.to_ne_bytes());
    }
}

/// Returns `LANES` floats from byte `at`.
#[inline(always)]
pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
    Scales(lanes(|lane| f32::from_le_bytes(from.read(at + lane * 4))))
}

/// Returns `LANES` multipliers from byte `at`, with exponents from byte `exponents`.
#[inline(always)]
pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
    let number = |at: usize, lane: usize| from.word(at + lane * 4);
    Multipliers(core::array::from_fn(|lane| fixed(number(at, lane), number(exponents, lane))))
}

/// Returns the four bytes at `at` in every lane.
#[inline(always)]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    Quads([u32::from_le_bytes(from.read(at)); LANES])
}

/// Returns four bytes per lane.
#[inline(always)]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    Quads(lanes(|lane| u32::from_le_bytes(from.read(at + lane * 4))))
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline(always)]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    let (above, below) = (column(above, at).0, column(below, at).0);
    Quads(lanes(|lane| below[lane] & 0xffff | above[lane] & 0xffff_0000))
}

/// Bytes that [`weights`] reads.
pub const WEIGHTS: usize = LANES * 4;

/// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline(always)]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    Weights(lanes(|lane| from.word(at + lane * 4)))
}

/// Adds four products to each sum.
#[inline(always)]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    let mut sums = sums.0;
    let mut lane = 0;
    while lane < LANES {
        let (quad, weights) = (quads.0[lane], weights.0[lane]);
        // Bytes are shifted out of their words in the same way in all lanes, so that compilers vectorize the loop.
        // Iterators over the bytes would keep their state in memory.
        let product = |byte: u32| (quad >> (8 * byte) & 255).cast_signed() * (weights << (24 - 8 * byte) >> 24);
        let products = product(0) + product(1) + (product(2) + product(3));
        sums[lane] = sums[lane].wrapping_add(products);
        lane += 1;
    }
    Sums(sums)
}

/// Converts sums to steps of the result's scale in XNNPACK's arithmetic, saturated to 16 bits.
#[inline(always)]
pub fn steps(sums: Sums, scales: Scales) -> Sums {
    Sums(lanes(|lane| round_ties_even((sums.0[lane] as f32 * scales.0[lane]).clamp(-32768.0, 32767.0))))
}

/// Converts sums to steps of the result's scale in the arithmetic of the reference kernels.
#[inline(always)]
pub fn steps_by_multiplier(sums: Sums, by: Multipliers) -> Sums {
    Sums(lanes(|lane| by.0[lane].apply(sums.0[lane])))
}

/// Packs four vectors of steps as results, with the zero point added.
#[inline(always)]
pub fn pack(steps: [Sums; 4], range: Range) -> Packed {
    let [a, b, c, d] = steps;
    let bytes = |steps| {
        let results = to_range(steps, range).0;
        lanes(|lane| results[lane] as u8)
    };
    Packed([bytes(a), bytes(b), bytes(c), bytes(d)])
}

/// `clamp` that does not panic if a damaged file has limits in the wrong order.
#[inline(always)]
fn limited(value: i32, low: i32, high: i32) -> i32 {
    value.max(low).min(high)
}

/// Converts steps to results in 32-bit lanes.
#[inline(always)]
pub fn to_range(steps: Sums, Limits { zero, low, high }: Range) -> Sums {
    Sums(lanes(|lane| limited(steps.0[lane].saturating_add(zero), low, high)))
}

/// Writes a column of row quads: four results per lane.
#[inline(always)]
pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
    for lane in 0..LANES {
        let [a, b, c, d] = packed.0;
        to.write(at + lane * 4, [a[lane], b[lane], c[lane], d[lane]]);
    }
}

/// Writes four pixels of channel quads. The `LANES / 4` planes have a stride of `plane` bytes.
#[inline(always)]
pub fn store_planes(to: &mut Dst<'_, u8>, at: usize, plane: usize, packed: Packed) {
    let _ = plane;
    for (pixel, channels) in packed.0.into_iter().enumerate() {
        to.write(at + pixel * 4, channels);
    }
}

/// Writes a quad of pixels, in quads of channels.
#[inline(always)]
pub fn store_packed(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
    store_planes(to, at, 0, packed);
}

/// Writes the first `CHANNELS` lanes of the first `PIXELS` pixels, at a stride of `pixel` bytes.
#[inline(always)]
pub fn store_pixels<const PIXELS: usize, const CHANNELS: usize>(
    to: &mut Dst<'_, u8>,
    at: usize,
    pixel: usize,
    packed: Packed,
) {
    for (index, channels) in packed.0.into_iter().enumerate().take(PIXELS) {
        for (lane, value) in channels.into_iter().enumerate().take(CHANNELS) {
            to.write(at + index * pixel + lane, [value]);
        }
    }
}

/// Returns the sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of the projection's scale.
#[inline(always)]
pub fn add<const CHANNELS: usize>(steps: Sums, residual: Src<'_, u8>, at: usize, add: Addends) -> Sums {
    Sums(lanes(|lane| {
        let a = if lane < CHANNELS { i32::from(residual.get(at + lane)) } else { 0 };
        let b = limited(steps.0[lane], add.low, add.high);
        add.bias
            .wrapping_add(add.left.wrapping_mul(a))
            .wrapping_add(add.right.wrapping_mul(b))
            .wrapping_shr(add.shift as u32)
    }))
}

/// Computes [`add`] in the arithmetic of the reference kernels.
#[inline(always)]
pub fn add_by_multiplier<const CHANNELS: usize>(
    steps: Sums,
    residual: Src<'_, u8>,
    at: usize,
    add: FixedAddends,
) -> Sums {
    Sums(lanes(|lane| {
        let a = if lane < CHANNELS { i32::from(residual.get(at + lane)).wrapping_sub(add.zero) } else { 0 };
        let b = limited(steps.0[lane], add.low, add.high);
        add.sum.apply(add.left.apply(a << LEFT_SHIFT).wrapping_add(add.right.apply(b << LEFT_SHIFT)))
    }))
}

/// Adds lane by lane.
#[inline(always)]
pub fn plus(a: Sums, b: Sums) -> Sums {
    Sums(lanes(|lane| a.0[lane].wrapping_add(b.0[lane])))
}

/// Returns the first `CHANNELS` bytes at `at`, minus the zero point.
#[inline(always)]
pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Sums {
    Sums(lanes(|lane| if lane < CHANNELS { i32::from(from.get(at + lane)).wrapping_sub(range.zero) } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_the_wrong_order_do_no_harm() {
        let steps = Sums(lanes(|lane| lane as i32 - 5));
        let found = to_range(steps, Limits { zero: 3, low: 8_324_945, high: 5_725_891 });
        assert!(found.0.iter().all(|value| *value == 5_725_891), "{:?}", found.0);
    }

    #[test]
    fn zero_points_of_damaged_files_do_no_harm() {
        let bytes = [0, 1, 2, 255];
        let range = Limits { zero: i32::MIN, low: 0, high: 255 };
        let found = centered::<LANES>(super::super::reference_tests::src(&bytes), 0, range);
        assert_eq!(found.0, bytes.map(|byte| i32::from(byte).wrapping_add(i32::MIN)));
    }
}
