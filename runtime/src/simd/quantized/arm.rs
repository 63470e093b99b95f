//! The common part of both quantized vocabularies of NEON: four lanes, for any dot product.
//!
//! Arm multiplies bytes that are both signed or both unsigned. Loads therefore subtract 128 from activations, which
//! flips one bit, and packing adds 128 times the sum of its weights to each channel's bias: sums equal those of the
//! other instruction sets.

/// Defines the shared vocabulary for the given target features.
macro_rules! arm {
    ($features:literal) => {
        use core::arch::aarch64::*;

        use $crate::quantized::arithmetic::LEFT_SHIFT;
        use $crate::simd::quantized::{Addends as AddendsOf, FixedAddends as FixedAddendsOf, Range as RangeOf};
        use $crate::simd::{Dst, Src};

        /// Lanes of a vector.
        pub const LANES: usize = 4;

        /// One integer per lane.
        pub type Sums = int32x4_t;
        /// Sixteen activations minus 128: four quads, of which a product reads one.
        pub type Sixteen = int8x16_t;
        /// One float per lane.
        pub type Scales = float32x4_t;
        /// Four results per lane, as bytes: `[result][lane]`.
        pub type Packed = uint8x16_t;
        /// Zero point and limits of a header, each in all lanes.
        pub type Range = RangeOf<int32x4_t>;
        /// Parameters of a residual add of a header, each in all lanes except for the shift.
        pub type Addends = AddendsOf<int32x4_t>;
        /// Parameters of a residual add of the reference kernels of a header, each in all lanes.
        pub type FixedAddends = FixedAddendsOf<int32x4_t, Multipliers>;

        /// Multipliers, left shifts before the product, and left shifts after it, which are at most 0.
        #[derive(Clone, Copy)]
        pub struct Multipliers {
            multipliers: int32x4_t,
            before: int32x4_t,
            after: int32x4_t,
        }

        /// Returns the bytes of a vector from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn vector(from: Src<'_, u8>, at: usize) -> uint8x16_t {
            // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
            unsafe { vld1q_u8(from.address(at, 16)) }
        }

        /// Returns activations minus 128.
        #[inline]
        #[target_feature(enable = $features)]
        fn signed(activations: uint8x16_t) -> int8x16_t {
            vreinterpretq_s8_u8(veorq_u8(activations, vdupq_n_u8(0x80)))
        }

        /// Writes, for each of four pixels, the byte at `at` of the three rows and a zero. Pixels have a stride of
        /// `PIXEL` bytes.
        ///
        /// Does not read beyond the last pixel's byte.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_ends<const PIXEL: usize>(rows: [Src<'_, u8>; 3], at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
            // Indices in the vector that ends with the last pixel's byte. The first pixels may precede it.
            let last = at + 3 * PIXEL - 15;
            let (mut quads, mut index) = (vdupq_n_u8(0), 0);
            while index < rows.len() {
                let (row, order) = (rows[index], const { super::arm::orders::<PIXEL>() }[index].as_ptr());
                // SAFETY: the constant has 16 bytes.
                let order = unsafe { vld1q_u8(order) };
                let begin = if 3 * PIXEL > 15 { vector(row, at) } else { quads };
                quads = vorrq_u8(quads, vqtbl2q_u8(uint8x16x2_t(begin, vector(row, last)), order));
                index += 1;
            }
            store_packed(to, to_at, quads);
        }

        $crate::simd::quantized::header::header! {
            #[inline]
            #[target_feature(enable = $features)]
            vdupq_n_s32, multipliers
        }

        /// Returns a vector of zeros.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn none() -> Sums {
            vdupq_n_s32(0)
        }

        /// Returns `LANES` integers from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_sums(from: Src<'_, u8>, at: usize) -> Sums {
            vreinterpretq_s32_u8(vector(from, at))
        }

        /// Writes `LANES` integers from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_sums(to: &mut Dst<'_, u8>, at: usize, sums: Sums) {
            // SAFETY: as in `vector`.
            unsafe { vst1q_u8(to.address(at, 16), vreinterpretq_u8_s32(sums)) }
        }

        /// Returns `LANES` floats from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
            vreinterpretq_f32_u8(vector(from, at))
        }

        /// Returns `LANES` multipliers from byte `at`, with exponents from byte `exponents`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
            multipliers(load_sums(from, at), load_sums(from, exponents))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn multipliers(multipliers: int32x4_t, exponents: int32x4_t) -> Multipliers {
            let zero = vdupq_n_s32(0);
            Multipliers { multipliers, before: vmaxq_s32(exponents, zero), after: vminq_s32(exponents, zero) }
        }

        /// Sixteen activations: four quads for [`dot_lane`].
        #[inline]
        #[target_feature(enable = $features)]
        pub fn sixteen(from: Src<'_, u8>, at: usize) -> Sixteen {
            signed(vector(from, at))
        }

        /// Bytes that [`weights`] reads.
        pub const WEIGHTS: usize = 16;

        /// Returns the weights of a vector of lanes, [`WEIGHTS`] bytes from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn weights(from: Src<'_, u8>, at: usize) -> Weights {
            vreinterpretq_s8_u8(vector(from, at))
        }

        /// Converts sums to steps of the result's scale in XNNPACK's arithmetic. Steps that do not fit 16 bits remain
        /// outside of them, and every use saturates.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps(sums: Sums, scales: Scales) -> Sums {
            // Converts with saturation, ties to even.
            vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), scales))
        }

        /// Converts sums to steps of the result's scale in the arithmetic of the reference kernels.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_by_multiplier(sums: Sums, by: Multipliers) -> Sums {
            scaled(vshlq_s32(sums, by.before), by)
        }

        /// Returns the product after the shift, both rounded.
        #[inline]
        #[target_feature(enable = $features)]
        fn scaled(numbers: int32x4_t, by: Multipliers) -> int32x4_t {
            let product = vqrdmulhq_s32(numbers, by.multipliers);
            // The shift rounds ties up. If bits are shifted out, one is subtracted from negative products, whose ties
            // then round down.
            let down = vshrq_n_s32::<31>(vandq_s32(product, by.after));
            vrshlq_s32(vqaddq_s32(product, down), by.after)
        }

        /// Packs four vectors of steps as results, with the zero point added.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn pack([a, b, c, d]: [Sums; 4], range: Range) -> Packed {
            // All three numbers are repeated to fill their lanes.
            let moved = |a, b| vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), narrow(range.zero));
            let packed = vqmovun_high_s16(vqmovun_s16(moved(a, b)), moved(c, d));
            vminq_u8(vmaxq_u8(packed, bytes(range.low)), bytes(range.high))
        }

        /// Returns a small number in all 16-bit lanes.
        #[inline]
        #[target_feature(enable = $features)]
        fn narrow(number: int32x4_t) -> int16x8_t {
            vqmovn_high_s32(vqmovn_s32(number), number)
        }

        /// Returns a number from 0 to 255 in all bytes.
        #[inline]
        #[target_feature(enable = $features)]
        fn bytes(number: int32x4_t) -> uint8x16_t {
            vqmovun_high_s16(vqmovun_s16(narrow(number)), narrow(number))
        }

        /// Converts steps to results in 32-bit lanes.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn to_range(steps: Sums, range: Range) -> Sums {
            vminq_s32(vmaxq_s32(vqaddq_s32(steps, range.zero), range.low), range.high)
        }

        /// Writes a column of row quads: four results per lane.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // A transposition of four by four bytes.
            const ORDER: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
            // SAFETY: the constant has 16 bytes.
            let order = unsafe { vld1q_u8(ORDER.as_ptr()) };
            store_packed(to, at, vqtbl1q_u8(packed, order));
        }

        /// Writes four pixels of channel quads, which are one plane.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_planes(to: &mut Dst<'_, u8>, at: usize, _: usize, packed: Packed) {
            store_packed(to, at, packed);
        }

        /// Writes a quad of pixels, in quads of channels.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_packed(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // SAFETY: as in `vector`.
            unsafe { vst1q_u8(to.address(at, 16), packed) }
        }

        /// Writes the first `CHANNELS` lanes of the first `PIXELS` pixels, at a stride of `pixel` bytes.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_pixels<const PIXELS: usize, const CHANNELS: usize>(
            to: &mut Dst<'_, u8>,
            at: usize,
            pixel: usize,
            packed: Packed,
        ) {
            let pixels = vreinterpretq_u32_u8(packed);
            let mut put = |index: usize, channels: u32| {
                if let Some(channels) = channels.to_le_bytes().first_chunk::<CHANNELS>() {
                    to.write(at + index * pixel, *channels);
                }
            };
            put(0, vgetq_lane_u32::<0>(pixels));
            if PIXELS > 1 {
                put(1, vgetq_lane_u32::<1>(pixels));
            }
            if PIXELS > 2 {
                put(2, vgetq_lane_u32::<2>(pixels));
            }
            if PIXELS > 3 {
                put(3, vgetq_lane_u32::<3>(pixels));
            }
        }

        /// Returns `CHANNELS` bytes from `at`, one per lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn some<const CHANNELS: usize>(from: Src<'_, u8>, at: usize) -> int32x4_t {
            let mut bytes = [0; LANES];
            if let Some(first) = bytes.first_chunk_mut::<CHANNELS>() {
                *first = from.read(at);
            }
            let bytes = vcreate_u8(u32::from_le_bytes(bytes).into());
            vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))))
        }

        /// Returns the sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of the projection's
        /// scale.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn add<const CHANNELS: usize>(steps: Sums, residual: Src<'_, u8>, at: usize, add: Addends) -> Sums {
            let a = some::<CHANNELS>(residual, at);
            let b = vminq_s32(vmaxq_s32(steps, add.low), add.high);
            let sum = vmlaq_s32(vmlaq_s32(add.bias, a, add.left), b, add.right);
            // A left shift by a negative number shifts right.
            vshlq_s32(sum, vdupq_n_s32(-add.shift))
        }

        /// Computes [`add`] in the arithmetic of the reference kernels.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn add_by_multiplier<const CHANNELS: usize>(
            steps: Sums,
            residual: Src<'_, u8>,
            at: usize,
            add: FixedAddends,
        ) -> Sums {
            // All three factors are below 1.
            let operand = |value, by| scaled(vshlq_n_s32::<{ LEFT_SHIFT as i32 }>(value), by);
            let a = vsubq_s32(some::<CHANNELS>(residual, at), add.zero);
            let b = vminq_s32(vmaxq_s32(steps, add.low), add.high);
            scaled(vaddq_s32(operand(a, add.left), operand(b, add.right)), add.sum)
        }

        /// Adds lane by lane.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn plus(a: Sums, b: Sums) -> Sums {
            vaddq_s32(a, b)
        }

        /// Returns the first `CHANNELS` bytes at `at`, minus the zero point.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Sums {
            vsubq_s32(some::<CHANNELS>(from, at), range.zero)
        }
    };
}

pub(super) use arm;

/// For each of the three rows of `store_ends`, the indices of its bytes in two vectors: the first one begins with the
/// first pixel's byte, the second one ends with the last pixel's byte. An index outside of both selects 0.
pub(super) const fn orders<const PIXEL: usize>() -> [[u8; 16]; 3] {
    let span = 3 * PIXEL;
    assert!(span <= 30, "two vectors reach all pixels");
    let mut orders = [[255; 16]; 3];
    let mut at = 0;
    while at < 12 {
        let (pixel, row) = (at / 3, at % 3);
        let is_at_end = span - pixel * PIXEL <= 15;
        orders[row][pixel * 4 + row] = (if is_at_end { 31 + pixel * PIXEL - span } else { pixel * PIXEL }) as u8;
        at += 1;
    }
    orders
}
