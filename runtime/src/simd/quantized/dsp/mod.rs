//! Armv7E-M and Armv8-M with the DSP extension: vectors of two channels, in general registers. Products are of pairs of
//! 16-bit numbers.
//!
//! On other targets, the same functions compute the same numbers without the instructions, so that tests of the host
//! cover layouts and packing.

mod instructions;
#[cfg(test)]
mod tests;
mod tile;
mod window;

use super::{Addends as AddendsOf, FixedAddends as FixedAddendsOf, Range as Limits};
use crate::quantized::arithmetic::{Fixed, LEFT_SHIFT};
use crate::simd::{Dst, Src};
use core::convert::identity;
use instructions::{qadd, smlad, sxtb16, sxtb16_odd, uqadd8, usat8, uxtb16, uxtb16_odd};

pub use tile::products;
pub use window::{Taps, between, taps, within};

/// Lanes of a vector.
pub const LANES: usize = 2;

/// One integer per lane.
#[derive(Clone, Copy)]
pub struct Sums([i32; LANES]);
/// Steps of a result's scale: one integer per lane, to which `BIAS` was added.
#[derive(Clone, Copy)]
pub struct Steps<const BIAS: i32>([i32; LANES]);
/// One lane of steps.
#[derive(Clone, Copy)]
pub struct Step<const BIAS: i32>(i32);
/// One float per lane.
#[derive(Clone, Copy)]
pub struct Scales([f32; LANES]);
/// One factor per lane.
#[derive(Clone, Copy)]
pub struct Multipliers([Fixed; LANES]);
/// Four activations, the same in all lanes: the even ones, then the odd ones, as pairs.
#[derive(Clone, Copy)]
pub struct Quads([u32; 2]);
/// Four weights per lane, in the order of [`Quads`].
#[derive(Clone, Copy)]
pub struct Weights([[u32; 2]; LANES]);
/// Four results per lane, the first in the low byte.
#[derive(Clone, Copy)]
pub struct Packed([u32; LANES]);
/// Zero point and limits of a header.
pub type Range = Limits<i32>;
/// Parameters of a residual add of a header.
pub type Addends = AddendsOf<i32>;
/// Parameters of a residual add of the reference kernels of a header.
pub type FixedAddends = FixedAddendsOf<i32, Fixed>;

/// Returns `value` of each lane.
#[inline(always)]
fn lanes<T>(value: impl Fn(usize) -> T) -> [T; LANES] {
    [value(0), value(1)]
}

#[inline(always)]
fn fixed(multiplier: i32, exponent: i32) -> Fixed {
    Fixed { multiplier, exponent }
}

super::header::header! {
    #[inline(always)]
    identity, fixed
}

/// 1.5 * 2^23. Adding it to a float rounds to the nearest integer, ties to even: the bits of the sum are those of this
/// constant plus the integer. This holds for magnitudes up to 2^22. For larger floats the bits are larger, and for
/// lower ones they are smaller, as signed integers, so that saturation limits them correctly.
const SHIFT: f32 = 12_582_912.0;
/// The bits of `SHIFT`, by which XNNPACK's steps are biased.
pub const ROUNDED: i32 = SHIFT.to_bits().cast_signed();
/// The bias of all other steps.
pub const EXACT: i32 = 0;

/// A vector that can be zero.
pub trait Zero {
    /// The zero.
    const ZERO: Self;
}

impl Zero for Sums {
    const ZERO: Self = Self([0; LANES]);
}

impl<const BIAS: i32> Zero for Steps<BIAS> {
    const ZERO: Self = Self([BIAS; LANES]);
}

/// Returns a vector of zeros.
#[inline(always)]
pub fn none<T: Zero>() -> T {
    T::ZERO
}

/// Returns `LANES` integers from byte `at`.
#[inline(always)]
pub fn load_sums(from: Src<'_, u8>, at: usize) -> Sums {
    Sums(lanes(|lane| from.word(at + lane * 4)))
}

/// Writes `LANES` integers from byte `at`.
#[inline(always)]
pub fn store_sums(to: &mut Dst<'_, u8>, at: usize, Sums([a, b]): Sums) {
    to.write(at, a.to_le_bytes());
    to.write(at + 4, b.to_le_bytes());
}

/// Returns `LANES` floats from byte `at`.
#[inline(always)]
pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
    Scales(lanes(|lane| f32::from_le_bytes(from.read(at + lane * 4))))
}

/// Returns `LANES` multipliers from byte `at`, with exponents from byte `exponents`.
#[inline(always)]
pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
    Multipliers(lanes(|lane| fixed(from.word(at + lane * 4), from.word(exponents + lane * 4))))
}

/// Returns the four bytes at `at`.
#[inline(always)]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    let word = from.word(at).cast_unsigned();
    Quads([uxtb16(word), uxtb16_odd(word)])
}

/// Bytes that [`weights`] reads.
pub const WEIGHTS: usize = LANES * 4;

/// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline(always)]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    Weights(lanes(|lane| {
        let word = from.word(at + lane * 4).cast_unsigned();
        [sxtb16(word), sxtb16_odd(word)]
    }))
}

/// Adds four products to each sum.
#[inline(always)]
pub fn dot(Quads([even, odd]): Quads, Weights(weights): Weights, Sums(sums): Sums) -> Sums {
    Sums(lanes(|lane| smlad(odd, weights[lane][1], smlad(even, weights[lane][0], sums[lane]))))
}

/// Products of pairs of activations that are stored as 16-bit numbers.
pub mod pairs {
    use super::*;

    /// A pair of activations, the same in all lanes.
    #[derive(Clone, Copy)]
    pub struct Pair(u32);
    /// A pair of weights per lane.
    #[derive(Clone, Copy)]
    pub struct Weights([u32; LANES]);

    /// Returns the pair at byte `at`.
    #[inline(always)]
    pub fn broadcast(from: Src<'_, u8>, at: usize) -> Pair {
        Pair(from.word(at).cast_unsigned())
    }

    /// Returns the weights of a vector of lanes, four bytes from `at`.
    #[inline(always)]
    pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
        let word = from.word(at).cast_unsigned();
        Weights([sxtb16(word), sxtb16_odd(word)])
    }

    /// Adds two products to each sum.
    #[inline(always)]
    pub fn dot(Pair(pair): Pair, Weights(weights): Weights, Sums(sums): Sums) -> Sums {
        Sums(lanes(|lane| smlad(pair, weights[lane], sums[lane])))
    }
}

/// Writes `RUN` bytes from `at` as pairs of 16-bit numbers, `PAIR` bytes apart, the last one with a zero if their number
/// is odd.
#[inline(always)]
pub fn widen<const RUN: usize, const PAIR: usize>(from: Src<'_, u8>, at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
    let (quads, rest) = (RUN / 4, RUN % 4);
    let mut put = |pair: usize, numbers: u32| to.write(to_at + pair * PAIR, numbers.to_le_bytes());
    for quad in 0..quads {
        let word = from.word(at + quad * 4).cast_unsigned();
        let (even, odd) = (uxtb16(word), uxtb16_odd(word));
        put(2 * quad, even & 0xffff | odd << 16);
        put(2 * quad + 1, even >> 16 | odd & 0xffff_0000);
    }
    let byte = |index: usize| u32::from(from.get(at + quads * 4 + index));
    if rest > 1 {
        put(2 * quads, byte(0) | byte(1) << 16);
    }
    if rest % 2 == 1 {
        put(RUN / 2, byte(rest - 1));
    }
}

/// Converts sums to steps of the result's scale in XNNPACK's arithmetic.
#[inline(always)]
pub fn steps(Sums(sums): Sums, Scales(scales): Scales) -> Steps<ROUNDED> {
    Steps(lanes(|lane| channel::steps(sums[lane], scales[lane]).0))
}

/// Converts sums to steps of the result's scale in the arithmetic of the reference kernels.
#[inline(always)]
pub fn steps_by_multiplier(Sums(sums): Sums, Multipliers(by): Multipliers) -> Steps<EXACT> {
    Steps(lanes(|lane| apply(by[lane], sums[lane])))
}

/// Computes `Fixed::apply` without branches on the value.
#[inline(always)]
fn apply(by: Fixed, value: i32) -> i32 {
    let shifted = value.wrapping_shl(by.exponent.max(0) as u32);
    let product = i64::from(shifted) * i64::from(by.multiplier);
    let high = ((product + (1 << 30)) >> 31) as i32;
    let right = 0_i32.saturating_sub(by.exponent).max(0) & 31;
    if right == 0 {
        return high;
    }
    // Half away from zero: down from the middle if the number is negative. `high` is neither `i32::MIN` nor `i32::MAX`,
    // because the multiplier is at most `i32::MAX`.
    let lower = high.wrapping_add(high >> 31);
    (lower >> (right - 1)).wrapping_add(1) >> 1
}

/// Numbers that convert steps to results.
struct Conversion {
    /// Added to biased steps with saturation, so that the lowest result is zero.
    zero: i32,
    /// Added to results with saturation, so that the highest one is 255.
    up: u32,
    /// Subtracted last.
    down: u32,
}

impl Conversion {
    #[inline(always)]
    fn new(Limits { zero, low, high }: Range, bias: i32) -> Self {
        let down = 255_i32.wrapping_sub(high);
        let [up, down] = [down.wrapping_add(low), down].map(|number| number.cast_unsigned() & 255);
        Self { zero: zero.wrapping_sub(low).wrapping_sub(bias), up, down }
    }

    /// Returns the result of a biased step.
    #[inline(always)]
    fn result(&self, step: i32) -> u32 {
        uqadd8(usat8(qadd(step, self.zero)), self.up).wrapping_sub(self.down)
    }
}

/// Packs four vectors of steps as results, with the zero point added.
#[inline(always)]
pub fn pack<const BIAS: i32>(steps: [Steps<BIAS>; 4], range: Range) -> Packed {
    let Conversion { zero, up, down } = Conversion::new(range, BIAS);
    let [up, down] = [up * 0x0101_0101, down * 0x0101_0101];
    Packed(lanes(|lane| {
        let byte = |at: usize| usat8(qadd(steps[at].0[lane], zero)) << (8 * at);
        // No byte is less than what is subtracted from it.
        uqadd8(byte(0) | byte(1) | (byte(2) | byte(3)), up).wrapping_sub(down)
    }))
}

/// Converts steps to results in 32-bit lanes.
#[inline(always)]
pub fn to_range<const BIAS: i32>(Steps(steps): Steps<BIAS>, range: Range) -> Sums {
    let conversion = Conversion::new(range, BIAS);
    Sums(lanes(|lane| conversion.result(steps[lane]).cast_signed()))
}

/// Writes a column of row quads: four results per lane.
#[inline(always)]
pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, Packed([a, b]): Packed) {
    to.write(at, a.to_le_bytes());
    to.write(at + 4, b.to_le_bytes());
}

/// Writes the first `CHANNELS` lanes of the first `PIXELS` pixels, at a stride of `pixel` bytes.
#[inline(always)]
pub fn store_pixels<const PIXELS: usize, const CHANNELS: usize>(
    to: &mut Dst<'_, u8>,
    at: usize,
    pixel: usize,
    Packed([a, b]): Packed,
) {
    const EVEN: u32 = 0x00ff_00ff;
    // Pixels 0 and 2, and pixels 1 and 3.
    let (even, odd) = (a & EVEN | (b & EVEN) << 8, a >> 8 & EVEN | b & !EVEN);
    for (index, channels) in [even, odd, even >> 16, odd >> 16].into_iter().enumerate().take(PIXELS) {
        match CHANNELS {
            1 => to.write(at + index * pixel, [channels as u8]),
            _ => to.write(at + index * pixel, (channels as u16).to_le_bytes()),
        }
    }
}

/// Writes the result of the sum of a channel of a depthwise convolution, as a 16-bit number.
#[inline(always)]
pub fn store_step<const BIAS: i32>(to: &mut Dst<'_, u8>, at: usize, Step(step): Step<BIAS>, range: Range) {
    to.write(at, (Conversion::new(range, BIAS).result(step) as u16).to_le_bytes());
}

/// Requantization of one channel of a depthwise convolution.
pub mod channel {
    use super::*;

    /// Returns the integer at byte `at`.
    #[inline(always)]
    pub fn load_sums(from: Src<'_, u8>, at: usize) -> i32 {
        from.word(at)
    }

    /// Returns the float at byte `at`.
    #[inline(always)]
    pub fn load_scales(from: Src<'_, u8>, at: usize) -> f32 {
        f32::from_le_bytes(from.read(at))
    }

    /// Returns the multiplier at byte `at`, with the exponent at byte `exponent`.
    #[inline(always)]
    pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponent: usize) -> Fixed {
        fixed(from.word(at), from.word(exponent))
    }

    /// Converts a sum as [`steps`](super::steps) does.
    #[inline(always)]
    pub fn steps(sum: i32, scale: f32) -> Step<ROUNDED> {
        Step((sum as f32 * scale + SHIFT).to_bits().cast_signed())
    }

    /// Converts a sum as [`steps_by_multiplier`](super::steps_by_multiplier) does.
    #[inline(always)]
    pub fn steps_by_multiplier(sum: i32, by: Fixed) -> Step<EXACT> {
        Step(apply(by, sum))
    }
}

/// Returns the sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of the projection's scale.
#[inline(always)]
pub fn add<const CHANNELS: usize>(
    Steps(steps): Steps<ROUNDED>,
    residual: Src<'_, u8>,
    at: usize,
    add: Addends,
) -> Steps<EXACT> {
    // The steps are limited as results are, to numbers from zero.
    let conversion = Conversion::new(Range { zero: 0, low: add.low, high: add.high }, ROUNDED);
    let Conversion { up, .. } = conversion;
    let bias = add.bias.wrapping_add(add.right.wrapping_mul(add.low));
    Steps(lanes(|lane| {
        let a = if lane < CHANNELS { i32::from(residual.get(at + lane)) } else { 0 };
        let b = uqadd8(usat8(qadd(steps[lane], conversion.zero)), up).wrapping_sub(up).cast_signed();
        let sum = bias.wrapping_add(add.left.wrapping_mul(a)).wrapping_add(add.right.wrapping_mul(b));
        sum.wrapping_shr(add.shift as u32)
    }))
}

/// Computes [`add`] in the arithmetic of the reference kernels.
#[inline(always)]
pub fn add_by_multiplier<const CHANNELS: usize>(
    Steps(steps): Steps<EXACT>,
    residual: Src<'_, u8>,
    at: usize,
    add: FixedAddends,
) -> Steps<EXACT> {
    Steps(lanes(|lane| {
        let a = if lane < CHANNELS { i32::from(residual.get(at + lane)).wrapping_sub(add.zero) } else { 0 };
        let b = steps[lane].max(add.low).min(add.high);
        apply(add.sum, apply(add.left, a << LEFT_SHIFT).wrapping_add(apply(add.right, b << LEFT_SHIFT)))
    }))
}

/// Adds lane by lane.
#[inline(always)]
pub fn plus(Sums(a): Sums, Sums(b): Sums) -> Sums {
    Sums(lanes(|lane| a[lane].wrapping_add(b[lane])))
}

/// Returns the first `CHANNELS` bytes at `at`, minus the zero point.
#[inline(always)]
pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Steps<EXACT> {
    let step = |lane| if lane < CHANNELS { i32::from(from.get(at + lane)).wrapping_sub(range.zero) } else { 0 };
    Steps(lanes(step))
}
