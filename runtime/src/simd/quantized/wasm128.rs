//! WebAssembly with SIMD128: activations widened to 16 bits, two products per instruction, four lanes.
//!
//! `wasm128dot` is for engines whose relaxed dot product of four bytes is exact, `wasm128pairs` for those that are exact
//! if pairs fit in 16 bits.

use core::arch::wasm32::*;

use super::{Addends as AddendsOf, FixedAddends as FixedAddendsOf, Range as RangeOf};
use crate::quantized::arithmetic::LEFT_SHIFT;
use crate::simd::{Dst, Src};

/// Lanes of a vector.
pub const LANES: usize = 4;

/// One integer per lane.
pub type Sums = v128;
/// One float per lane.
pub type Scales = v128;
/// The even and the odd bytes of each lane, as 16-bit numbers.
pub type Quads = [v128; 2];
/// The even and the odd weights of each lane, as 16-bit numbers.
pub type Weights = [v128; 2];
/// Four results per lane, as bytes: `[result][lane]`.
pub type Packed = v128;
/// Zero point and limits of a header, each in all lanes.
pub type Range = RangeOf<v128>;
/// Parameters of a residual add of a header, each in all lanes except for the shift.
pub type Addends = AddendsOf<v128>;
/// Residual-add parameters of a header for the reference kernels, each in all lanes.
pub type FixedAddends = FixedAddendsOf<v128, Multipliers>;

/// Multipliers; the powers of two of the left shift before the product, and of 31 minus the right shift after it; half
/// of the divisor of the latter.
#[derive(Clone, Copy)]
pub struct Multipliers {
    multipliers: v128,
    before: v128,
    after: v128,
    half: v128,
}

/// Returns the bytes of a vector from `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn vector(from: Src<'_, u8>, at: usize) -> v128 {
    // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
    unsafe { v128_load(from.address(at, 16).cast()) }
}

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn four(from: Src<'_, u8>, at: usize) -> v128 {
    // SAFETY: as in `vector`.
    unsafe { v128_load32_splat(from.address(at, 4).cast()) }
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn halves(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> v128 {
    i16x8_shuffle::<0, 9, 2, 11, 4, 13, 6, 15>(vector(below, at), vector(above, at))
}

super::header::header! {
    #[inline]
    #[target_feature(enable = "simd128")]
    i32x4_splat, multipliers
}

/// Writes, for each of four pixels, the byte at `at` of the three rows and a zero. Pixels have a stride of `PIXEL`
/// bytes.
///
/// Does not read beyond the last pixel's byte.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_ends<const PIXEL: usize>(rows: [Src<'_, u8>; 3], at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
    let mut pixel = 0;
    while pixel < 4 {
        let [a, b, c] = rows.map(|row| row.get(at + pixel * PIXEL));
        to.write(to_at + pixel * 4, [a, b, c, 0]);
        pixel += 1;
    }
}

/// Returns a vector of zeros.
#[inline]
#[target_feature(enable = "simd128")]
pub fn none() -> Sums {
    i32x4_splat(0)
}

/// Returns `LANES` integers from byte `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load_sums(from: Src<'_, u8>, at: usize) -> Sums {
    vector(from, at)
}

/// Writes `LANES` integers from byte `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_sums(to: &mut Dst<'_, u8>, at: usize, sums: Sums) {
    store_packed(to, at, sums);
}

/// Returns `LANES` floats from byte `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
    vector(from, at)
}

/// Returns `LANES` multipliers from byte `at`, with exponents from byte `exponents`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
    multipliers(vector(from, at), vector(from, exponents))
}

/// Multipliers below one half are loaded as all others.
pub use self::load_multipliers as load_small_multipliers;

#[inline]
#[target_feature(enable = "simd128")]
fn multipliers(multipliers: v128, exponents: v128) -> Multipliers {
    let zero = i32x4_splat(0);
    let right = i32x4_max(i32x4_neg(exponents), zero);
    Multipliers {
        multipliers,
        before: power(i32x4_max(exponents, zero)),
        after: power(i32x4_sub(i32x4_splat(31), right)),
        half: u32x4_shr(power(right), 1),
    }
}

/// Returns 2 to the power of numbers from 0 to 31. SIMD128 has no shift by a different number in each lane.
#[inline]
#[target_feature(enable = "simd128")]
fn power(exponents: v128) -> v128 {
    // The bits of a float with this exponent.
    u32x4_trunc_sat_f32x4(i32x4_shl(i32x4_add(exponents, i32x4_splat(127)), 23))
}

#[inline]
#[target_feature(enable = "simd128")]
fn split(bytes: v128) -> Quads {
    [v128_and(bytes, i16x8_splat(0xff)), u16x8_shr(bytes, 8)]
}

/// Returns the four bytes at `at` in every lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
    split(four(from, at))
}

/// Returns four bytes per lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn column(from: Src<'_, u8>, at: usize) -> Quads {
    split(vector(from, at))
}

/// Returns the first two bytes of each lane from `below`, the last two from `above`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn between(above: Src<'_, u8>, below: Src<'_, u8>, at: usize) -> Quads {
    split(halves(above, below, at))
}

/// Bytes that [`weights`] reads: two vectors of 16-bit numbers, `[lane][w0, w2]` and `[lane][w1, w3]`.
pub const WEIGHTS: usize = 32;

/// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
    [vector(from, at), vector(from, at + 16)]
}

/// Adds four products to each sum.
#[inline]
#[target_feature(enable = "simd128")]
pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
    let sums = i32x4_add(sums, i32x4_dot_i16x8(quads[0], weights[0]));
    i32x4_add(sums, i32x4_dot_i16x8(quads[1], weights[1]))
}

/// The dot product of this module. In loops of one quad per iteration, compilers add its products in order.
pub mod in_order {
    pub use super::dot;
}

/// Writes `QUADS` quads of activations as 16-bit numbers, `[quad][x0, x2, x1, x3]`, and after them, as an i32, the sum
/// of the products `x0 * x1` and `x2 * x3`.
#[inline]
#[target_feature(enable = "simd128")]
pub fn widen<const QUADS: usize>(from: Src<'_, u8>, at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
    let mut products = none();
    let mut quad = 0;
    while quad + 4 <= QUADS {
        let [even, odd] = split(vector(from, at + quad * 4));
        store_packed(to, to_at + quad * 8, i32x4_shuffle::<0, 4, 1, 5>(even, odd));
        store_packed(to, to_at + quad * 8 + 16, i32x4_shuffle::<2, 6, 3, 7>(even, odd));
        products = i32x4_add(products, i32x4_dot_i16x8(even, odd));
        quad += 4;
    }
    while quad < QUADS {
        let [even, odd] = split(i32x4(from.word(at + quad * 4), 0, 0, 0));
        // SAFETY: as in `vector`.
        unsafe {
            v128_store64_lane::<0>(i32x4_shuffle::<0, 4, 1, 5>(even, odd), to.address(to_at + quad * 8, 8).cast());
        }
        products = i32x4_add(products, i32x4_dot_i16x8(even, odd));
        quad += 1;
    }
    let products = i32x4_add(products, i32x4_shuffle::<2, 3, 0, 1>(products, products));
    let products = i32x4_add(products, i32x4_shuffle::<1, 0, 3, 2>(products, products));
    // SAFETY: as in `vector`.
    unsafe { v128_store32_lane::<0>(products, to.address(to_at + QUADS * 8, 4).cast()) };
}

/// The fast inner product of 16-bit numbers (Winograd 1968). Two products take one multiplication and two additions.
///
/// Activations are those that `widen` writes.
pub mod fast {
    use super::*;

    /// In each lane, the even and the odd ones of four activations.
    pub type Quads = [v128; 2];
    /// In each lane, the odd and the even ones of four weights.
    pub type Weights = [v128; 2];

    /// Returns the four activations at byte `at` in every lane.
    #[inline]
    #[target_feature(enable = "simd128")]
    pub fn broadcast(from: Src<'_, u8>, at: usize) -> Quads {
        [four(from, at), four(from, at + 4)]
    }

    /// Returns the weights of a vector of lanes, `[lane][w1, w3]` and `[lane][w0, w2]`.
    #[inline]
    #[target_feature(enable = "simd128")]
    pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
        super::weights(from, at)
    }

    /// Adds four products to each sum, plus the terms `x0 * x1`, `x2 * x3`, `w0 * w1` and `w2 * w3`.
    #[inline]
    #[target_feature(enable = "simd128")]
    pub fn dot(quads: Quads, weights: Weights, sums: Sums) -> Sums {
        let [even, odd] = [i16x8_add(quads[0], weights[0]), i16x8_add(quads[1], weights[1])];
        i32x4_add(sums, i32x4_dot_i16x8(even, odd))
    }

    /// Subtracts the integer at byte `at` from each sum.
    #[inline]
    #[target_feature(enable = "simd128")]
    pub fn minus(sums: Sums, from: Src<'_, u8>, at: usize) -> Sums {
        i32x4_sub(sums, four(from, at))
    }
}

/// 1.5 * 2^23. Floats from 2^23 to 2^24 are consecutive integers with consecutive bit patterns. The addition of this one
/// rounds to an integer, ties to even, and the difference of the bit patterns is that integer. Other positive floats have
/// the same order as their bit patterns.
const MAGIC: f32 = 12_582_912.0;

/// Converts sums to steps of the result's scale in XNNPACK's arithmetic. Packing proves that no step exceeds 32 bits.
/// Steps that do not fit 16 bits remain outside of them, and every use saturates.
#[inline]
#[target_feature(enable = "simd128")]
pub fn steps(sums: Sums, scales: Scales) -> Sums {
    let magic = MAGIC.to_bits().cast_signed();
    let moved = f32x4_add(f32x4_mul(f32x4_convert_i32x4(sums), scales), f32x4_splat(MAGIC));
    // Negative floats have negative bit patterns, from which the subtraction would overflow.
    i32x4_sub(i32x4_max(moved, i32x4_splat(magic - (1 << 20))), i32x4_splat(magic))
}

/// Computes [`steps`] of sums with `BIAS` added. Negative results stay negative.
///
/// For sums from 0 to 2^23, the difference from 2^23 is the sum, so that the product is rounded as that of `steps`; other
/// sums saturate to the same result. Packing admits scales up to 1, so that no product is below -2^23 and the subtraction
/// of bit patterns does not overflow.
#[inline]
#[target_feature(enable = "simd128")]
pub fn steps_of_biased(sums: Sums, scales: Scales) -> Sums {
    let moved = f32x4_add(f32x4_mul(f32x4_sub(sums, f32x4_splat(8_388_608.0)), scales), f32x4_splat(MAGIC));
    i32x4_sub(moved, f32x4_splat(MAGIC))
}

/// Converts sums to steps of the result's scale in the arithmetic of the reference kernels.
#[inline]
#[target_feature(enable = "simd128")]
pub fn steps_by_multiplier(sums: Sums, by: Multipliers) -> Sums {
    divide(high_mul(i32x4_mul(sums, by.before), by), by)
}

/// Computes [`steps_by_multiplier`] for factors with negative exponents, which have no left shift.
#[inline]
#[target_feature(enable = "simd128")]
pub fn steps_by_small_multiplier(sums: Sums, by: Multipliers) -> Sums {
    divide(high_mul(sums, by), by)
}

/// Returns bits 31 to 62 of the 64-bit lanes, those of `low` first.
#[inline]
#[target_feature(enable = "simd128")]
fn upper(low: v128, high: v128) -> v128 {
    i32x4_shuffle::<0, 2, 4, 6>(u64x2_shr(low, 31), u64x2_shr(high, 31))
}

/// Returns `2 * value * multiplier / 2^32`, rounded to nearest, ties up. No multiplier is negative.
#[inline]
#[target_feature(enable = "simd128")]
fn high_mul(values: v128, by: Multipliers) -> v128 {
    let nudge = i64x2_splat(1 << 30);
    let low = i64x2_add(i64x2_extmul_low_i32x4(values, by.multipliers), nudge);
    let high = i64x2_add(i64x2_extmul_high_i32x4(values, by.multipliers), nudge);
    upper(low, high)
}

/// Returns a product divided by its power of two, rounded half away from zero.
#[inline]
#[target_feature(enable = "simd128")]
fn divide(product: v128, by: Multipliers) -> v128 {
    // Magnitudes, so that the unsigned sum with half a step cannot overflow.
    let sum = i32x4_add(i32x4_abs(product), by.half);
    let shifted = upper(u64x2_extmul_low_u32x4(sum, by.after), u64x2_extmul_high_u32x4(sum, by.after));
    let sign = i32x4_shr(product, 31);
    i32x4_sub(v128_xor(shifted, sign), sign)
}

/// Packs four vectors of steps as results, saturated to 0..=255, without a zero point or narrower limits.
#[inline]
#[target_feature(enable = "simd128")]
pub fn pack_unlimited(steps: [Sums; 4]) -> Packed {
    unsigned(narrow_all(steps, i16x8_splat(-128)))
}

/// Packs four vectors of steps as results, with the zero point added.
#[inline]
#[target_feature(enable = "simd128")]
pub fn pack(steps: [Sums; 4], range: Range) -> Packed {
    // All three numbers are repeated to fill their lanes.
    let signed = narrow_all(steps, i16x8_sub(narrow(range.zero), i16x8_splat(128)));
    unsigned(i8x16_min(i8x16_max(signed, bytes(range.low)), bytes(range.high)))
}

/// Adds `zero`, in 16-bit lanes, to four vectors, and saturates the sums to signed bytes. LLVM emits two more instructions
/// for unsigned saturation.
#[inline]
#[target_feature(enable = "simd128")]
fn narrow_all([a, b, c, d]: [Sums; 4], zero: v128) -> v128 {
    let moved = |a, b| i16x8_add_sat(i16x8_narrow_i32x4(a, b), zero);
    i8x16_narrow_i16x8(moved(a, b), moved(c, d))
}

/// Adds 128 to signed bytes.
#[inline]
#[target_feature(enable = "simd128")]
fn unsigned(bytes: v128) -> v128 {
    v128_xor(bytes, u8x16_splat(0x80))
}

/// Returns a small number in all 16-bit lanes.
#[inline]
#[target_feature(enable = "simd128")]
fn narrow(number: v128) -> v128 {
    i16x8_narrow_i32x4(number, number)
}

/// Returns `number - 128` in all bytes, for a number from 0 to 255.
#[inline]
#[target_feature(enable = "simd128")]
fn bytes(number: v128) -> v128 {
    narrow_all([number; 4], i16x8_splat(-128))
}

/// Converts steps to results in 32-bit lanes.
#[inline]
#[target_feature(enable = "simd128")]
pub fn to_range(steps: Sums, range: Range) -> Sums {
    // Limited first: the sum of steps and zero point could overflow.
    let least = i32x4_sub(range.low, range.zero);
    let most = i32x4_sub(range.high, range.zero);
    i32x4_add(i32x4_min(i32x4_max(steps, least), most), range.zero)
}

/// Writes a column of row quads: four results per lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
    // A transposition of four by four bytes.
    let quads = i8x16_shuffle::<0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15>(packed, packed);
    store_packed(to, at, quads);
}

/// Writes four pixels of channel quads. The `LANES / 4` planes have a stride of `plane` bytes.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_planes(to: &mut Dst<'_, u8>, at: usize, plane: usize, packed: Packed) {
    let _ = plane;
    store_packed(to, at, packed);
}

/// Writes a quad of pixels, in quads of channels.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_packed(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
    // SAFETY: as in `vector`.
    unsafe { v128_store(to.address(at, 16).cast(), packed) }
}

/// Writes the first `CHANNELS` lanes of the first `PIXELS` pixels, at a stride of `pixel` bytes.
#[inline]
#[target_feature(enable = "simd128")]
pub fn store_pixels<const PIXELS: usize, const CHANNELS: usize>(
    to: &mut Dst<'_, u8>,
    at: usize,
    pixel: usize,
    packed: Packed,
) {
    let mut put = |index: usize, channels: u32| {
        if let Some(channels) = channels.to_le_bytes().first_chunk::<CHANNELS>() {
            to.write(at + index * pixel, *channels);
        }
    };
    put(0, u32x4_extract_lane::<0>(packed));
    if PIXELS > 1 {
        put(1, u32x4_extract_lane::<1>(packed));
    }
    if PIXELS > 2 {
        put(2, u32x4_extract_lane::<2>(packed));
    }
    if PIXELS > 3 {
        put(3, u32x4_extract_lane::<3>(packed));
    }
}

/// Returns `CHANNELS` bytes from `at`, one per lane.
#[inline]
#[target_feature(enable = "simd128")]
fn some<const CHANNELS: usize>(from: Src<'_, u8>, at: usize) -> v128 {
    let mut bytes = [0; LANES];
    if let Some(first) = bytes.first_chunk_mut::<CHANNELS>() {
        *first = from.read(at);
    }
    let bytes = u32x4(u32::from_le_bytes(bytes), 0, 0, 0);
    u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes))
}

/// Returns the sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of the projection's scale.
#[inline]
#[target_feature(enable = "simd128")]
pub fn add<const CHANNELS: usize>(steps: Sums, residual: Src<'_, u8>, at: usize, add: Addends) -> Sums {
    let a = some::<CHANNELS>(residual, at);
    let b = i32x4_min(i32x4_max(steps, add.low), add.high);
    let (a, b) = (i32x4_mul(a, add.left), i32x4_mul(b, add.right));
    i32x4_shr(i32x4_add(i32x4_add(a, add.bias), b), add.shift.cast_unsigned())
}

/// Computes [`add`] in the arithmetic of the reference kernels.
#[inline]
#[target_feature(enable = "simd128")]
pub fn add_by_multiplier<const CHANNELS: usize>(
    steps: Sums,
    residual: Src<'_, u8>,
    at: usize,
    add: FixedAddends,
) -> Sums {
    // All three factors are below 1.
    let operand = |value, by| divide(high_mul(i32x4_shl(value, LEFT_SHIFT), by), by);
    let a = i32x4_sub(some::<CHANNELS>(residual, at), add.zero);
    let b = i32x4_min(i32x4_max(steps, add.low), add.high);
    divide(high_mul(i32x4_add(operand(a, add.left), operand(b, add.right)), add.sum), add.sum)
}

/// Adds lane by lane.
#[inline]
#[target_feature(enable = "simd128")]
pub fn plus(a: Sums, b: Sums) -> Sums {
    i32x4_add(a, b)
}

/// Returns the first `CHANNELS` bytes at `at`, minus the zero point.
#[inline]
#[target_feature(enable = "simd128")]
pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Sums {
    i32x4_sub(some::<CHANNELS>(from, at), range.zero)
}
