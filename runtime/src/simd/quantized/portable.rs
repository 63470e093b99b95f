//! Plain Rust: four lanes. This module defines the vocabulary.

use super::{Addends, FixedAddends as FixedAddendsOf, Range as Limits};
use crate::quantized::arithmetic::{Fixed, LEFT_SHIFT, round_ties_even};
use crate::simd::{Dst, Src};

/// Lanes of a vector.
pub const LANES: usize = 4;

/// An integer for each lane.
#[derive(Clone, Copy)]
pub struct Sums([i32; LANES]);
/// A float for each lane.
#[derive(Clone, Copy)]
pub struct Scales([f32; LANES]);
/// A factor for each lane.
#[derive(Clone, Copy)]
pub struct Multipliers([Fixed; LANES]);
/// Four activations for each lane, the first in the low byte.
#[derive(Clone, Copy)]
pub struct Quads([u32; LANES]);
/// Four weights for each lane, bytes with sign, the first in the low one.
#[derive(Clone, Copy)]
pub struct Weights([i32; LANES]);
/// Four results for each lane: `[which of the four][lane]`.
#[derive(Clone, Copy)]
pub struct Packed([[u8; LANES]; 4]);
/// A header's zero point and limits.
pub type Range = Limits<i32>;
/// A header's numbers of a residual add of the reference kernels.
pub type FixedAddends = FixedAddendsOf<i32, Fixed>;

/// `value` of each lane. A plain loop: compilers leave calls of closures where arrays are mapped or made from functions.
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

/// `N` bytes from `at`.
#[inline(always)]
fn read<const N: usize>(from: Src<'_, u8>, at: usize) -> [u8; N] {
    // SAFETY: the view's constructor promises that the range is in bounds; debug builds check it in `address`.
    unsafe { from.address(at, N).cast::<[u8; N]>().read_unaligned() }
}

#[inline(always)]
fn write<const N: usize>(to: &mut Dst<'_, u8>, at: usize, bytes: [u8; N]) {
    // SAFETY: as in `read`.
    unsafe { to.address(at, N).cast::<[u8; N]>().write_unaligned(bytes) }
}

#[inline(always)]
fn word(from: Src<'_, u8>, at: usize) -> i32 {
    i32::from_le_bytes(read(from, at))
}

/// For each pixel, the byte at `at` of the three rows and a zero; pixels are `PIXEL` bytes apart. Writes four pixels.
///
/// Reads nothing beyond the last pixel's byte.
#[inline(always)]
pub fn store_ends<const PIXEL: usize>(rows: [Src<'_, u8>; 3], at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
    for pixel in 0..4 {
        let [a, b, c] = rows.map(|row| row.get(at + pixel * PIXEL));
        write(to, to_at + pixel * 4, [a, b, c, 0]);
    }
}

/// All lanes zero.
#[inline(always)]
pub fn none() -> Sums {
    Sums([0; LANES])
}

/// `LANES` integers from byte `at`.
#[inline(always)]
pub fn load_sums(from: Src<'_, u8>, at: usize) -> Sums {
    Sums(lanes(|lane| word(from, at + lane * 4)))
}

/// Writes `LANES` integers from byte `at`.
#[inline(always)]
pub fn store_sums(to: &mut Dst<'_, u8>, at: usize, sums: Sums) {
    for (lane, sum) in sums.0.into_iter().enumerate() {
        write(to, at + lane * 4, sum.to_ne_bytes());
    }
}

/// `LANES` floats from byte `at`.
#[inline(always)]
pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
    Scales(lanes(|lane| f32::from_le_bytes(read(from, at + lane * 4))))
}

/// `LANES` multipliers from byte `at`, their exponents from byte `exponents`.
#[inline(always)]
pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
    let of = |at: usize, exponent: usize| Fixed { multiplier: word(from, at), exponent: word(from, exponent) };
    Multipliers(core::array::from_fn(|lane| of(at + lane * 4, exponents + lane * 4)))
}

/// The four bytes at `at` in every lane.
#[inline(always)]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    Quads([u32::from_le_bytes(read(from, at)); LANES])
}

/// Four bytes for each lane.
#[inline(always)]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    Quads(lanes(|lane| u32::from_le_bytes(read(from, at + lane * 4))))
}

/// The first two bytes of each lane from `below`, the last two from `above`.
#[inline(always)]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    let (above, below) = (column(above, at).0, column(below, at).0);
    Quads(lanes(|lane| below[lane] & 0xffff | above[lane] & 0xffff_0000))
}

/// Bytes that [`weights`] reads.
pub const WEIGHTS: usize = LANES * 4;

/// The weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline(always)]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    Weights(lanes(|lane| word(from, at + lane * 4)))
}

/// Adds four products to each sum.
#[inline(always)]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    let mut sums = sums.0;
    let mut lane = 0;
    while lane < LANES {
        let (quad, weights) = (quads.0[lane], weights.0[lane]);
        // Shifted out of their words, all bytes of all lanes alike, which compilers make vectors of; iterators over the
        // bytes would keep their state in memory.
        let product = |byte: u32| (quad >> (8 * byte) & 255).cast_signed() * (weights << (24 - 8 * byte) >> 24);
        let products = product(0) + product(1) + (product(2) + product(3));
        sums[lane] = sums[lane].wrapping_add(products);
        lane += 1;
    }
    Sums(sums)
}

/// Sums in steps of the result's scale, saturated to 16 bits: XNNPACK's arithmetic.
#[inline(always)]
pub fn steps(sums: Sums, scales: Scales) -> Sums {
    Sums(lanes(|lane| round_ties_even((sums.0[lane] as f32 * scales.0[lane]).clamp(-32768.0, 32767.0))))
}

/// Sums in steps of the result's scale: the reference kernels' arithmetic.
#[inline(always)]
pub fn steps_by_multiplier(sums: Sums, by: Multipliers) -> Sums {
    Sums(lanes(|lane| by.0[lane].apply(sums.0[lane])))
}

/// Four vectors of steps as results, with the zero point added.
#[inline(always)]
pub fn pack(steps: [Sums; 4], range: Range) -> Packed {
    let [a, b, c, d] = steps;
    let bytes = |steps| {
        let results = to_range(steps, range).0;
        lanes(|lane| results[lane] as u8)
    };
    Packed([bytes(a), bytes(b), bytes(c), bytes(d)])
}

/// `clamp` that does not panic where a damaged file has the limits in the wrong order.
#[inline(always)]
fn limited(value: i32, low: i32, high: i32) -> i32 {
    value.max(low).min(high)
}

/// Steps as results that are still 32 bits wide.
#[inline(always)]
pub fn to_range(steps: Sums, Limits { zero, low, high }: Range) -> Sums {
    Sums(lanes(|lane| limited(steps.0[lane].saturating_add(zero), low, high)))
}

/// The zero point and the limits that a header holds.
#[inline(always)]
pub fn range(header: Src<'_, u8>) -> Range {
    Limits { zero: word(header, 0), low: word(header, 4), high: word(header, 8) }
}

/// Writes a column of row quads: lane by lane, its four results.
#[inline(always)]
pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
    for lane in 0..LANES {
        let [a, b, c, d] = packed.0;
        write(to, at + lane * 4, [a[lane], b[lane], c[lane], d[lane]]);
    }
}

/// Writes four pixels of channel quads: the `LANES / 4` planes are `plane` bytes apart.
#[inline(always)]
pub fn store_planes(to: &mut Dst<'_, u8>, at: usize, plane: usize, packed: Packed) {
    let _ = plane;
    for (pixel, channels) in packed.0.into_iter().enumerate() {
        write(to, at + pixel * 4, channels);
    }
}

/// Writes a quad of pixels: of all channels, four by four.
#[inline(always)]
pub fn store_packed(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
    store_planes(to, at, 0, packed);
}

/// Writes the first `CHANNELS` lanes of the first `PIXELS` pixels, which are `pixel` bytes apart.
#[inline(always)]
pub fn store_pixels<const PIXELS: usize, const CHANNELS: usize>(
    to: &mut Dst<'_, u8>,
    at: usize,
    pixel: usize,
    packed: Packed,
) {
    for (index, channels) in packed.0.into_iter().enumerate().take(PIXELS) {
        for (lane, value) in channels.into_iter().enumerate().take(CHANNELS) {
            write(to, at + index * pixel + lane, [value]);
        }
    }
}

/// The numbers of a residual add that a header holds.
#[inline(always)]
pub fn addends(header: Src<'_, u8>) -> Addends<i32> {
    let [left, right, bias, shift, low, high] = core::array::from_fn(|index| word(header, 16 + index * 4));
    Addends { left, right, bias, shift, low, high }
}

/// The sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of the projection's scale.
#[inline(always)]
pub fn add<const CHANNELS: usize>(steps: Sums, residual: Src<'_, u8>, at: usize, add: Addends<i32>) -> Sums {
    Sums(lanes(|lane| {
        let a = if lane < CHANNELS { i32::from(residual.get(at + lane)) } else { 0 };
        let b = limited(steps.0[lane], add.low, add.high);
        add.bias
            .wrapping_add(add.left.wrapping_mul(a))
            .wrapping_add(add.right.wrapping_mul(b))
            .wrapping_shr(add.shift as u32)
    }))
}

/// The numbers of a residual add of the reference kernels that a header holds.
#[inline(always)]
pub fn fixed_addends(header: Src<'_, u8>) -> FixedAddends {
    let number = |index: usize| word(header, 64 + index * 4);
    let fixed = |index| Fixed { multiplier: number(index), exponent: number(index + 1) };
    FixedAddendsOf { zero: number(0), left: fixed(1), low: number(3), high: number(4), right: fixed(5), sum: fixed(7) }
}

/// [`add`] as the reference kernels do it.
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

/// The value of padding as a zero point, and the limits of bytes.
#[inline(always)]
pub fn padding(header: Src<'_, u8>) -> Range {
    Limits { zero: word(header, 40), low: 0, high: 255 }
}

/// The first `CHANNELS` bytes at `at`, less the zero point.
#[inline(always)]
pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Sums {
    Sums(lanes(|lane| if lane < CHANNELS { i32::from(from.get(at + lane)) - range.zero } else { 0 }))
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
}
