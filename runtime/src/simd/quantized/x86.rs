//! The common part of the quantized vocabularies of x86-64, for vectors of any width and any dot product.
//!
//! Each operation is written once, in the intrinsics that [`ymm`](super::ymm) and [`zmm`](super::zmm) export under the
//! same names for 256 and 512 bits.

/// Defines the shared vocabulary for the given target features, in the vectors of module `$width`.
macro_rules! x86 {
    ($width:ident, $features:literal) => {
        use core::arch::x86_64::*;

        pub use $crate::simd::quantized::xmm::{store_ends, widen};
        use $crate::simd::quantized::$width::*;
        use $crate::simd::quantized::{Addends as AddendsOf, FixedAddends as FixedAddendsOf, Range as RangeOf};
        use $crate::simd::{Dst, Src};

        /// Lanes of a vector.
        pub const LANES: usize = size_of::<Integers>() / 4;
        /// Bytes of a vector.
        const BYTES: usize = size_of::<Integers>();

        /// One integer per lane.
        pub type Sums = Integers;
        /// One float per lane.
        pub type Scales = Floats;
        /// Four results per lane, as bytes: `[lanes / 4][result][4 lanes]`.
        pub type Packed = Integers;
        /// Zero point and limits of a header, each in all lanes.
        pub type Range = RangeOf<Integers>;
        /// Parameters of a residual add of a header, each in all lanes except for the shift.
        pub type Addends = AddendsOf<Integers>;
        /// Parameters of a residual add of the reference kernels of a header, each in all lanes.
        pub type FixedAddends = FixedAddendsOf<Integers, Multipliers>;

        /// Multipliers, those of odd lanes also in the even ones; shifts before and after the product; half of the
        /// divisor of the latter.
        #[derive(Clone, Copy)]
        pub struct Multipliers {
            all: Integers,
            odd: Integers,
            left: Integers,
            right: Integers,
            half: Integers,
        }

        /// Multipliers below one half, those of odd lanes also in the even ones; the rounding terms of the products of
        /// even and of odd lanes, in 64-bit lanes; the shift of a product's upper half.
        #[derive(Clone, Copy)]
        pub struct SmallMultipliers {
            all: Integers,
            odd: Integers,
            nudges: [Integers; 2],
            shift: Integers,
        }

        /// Returns the bytes of a vector from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn vector(from: Src<'_, u8>, at: usize) -> Integers {
            // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
            unsafe { load(from.address(at, BYTES).cast()) }
        }

        $crate::simd::quantized::header::header! {
            #[inline]
            #[target_feature(enable = $features)]
            set1_epi32, multipliers
        }

        /// Returns a vector of zeros.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn none() -> Sums {
            setzero()
        }

        /// Returns `LANES` integers from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_sums(from: Src<'_, u8>, at: usize) -> Sums {
            vector(from, at)
        }

        /// Writes `LANES` integers from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_sums(to: &mut Dst<'_, u8>, at: usize, sums: Sums) {
            // SAFETY: as in `vector`.
            unsafe { store(to.address(at, BYTES).cast(), sums) }
        }

        /// Returns `LANES` floats from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
            cast_ps(vector(from, at))
        }

        /// Converts sums to steps of the result's scale in XNNPACK's arithmetic. Packing proves that no step exceeds 32
        /// bits. Steps below them become the minimum integer, and every use saturates.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps(sums: Sums, scales: Scales) -> Sums {
            cvtps_epi32(mul_ps(cvtepi32_ps(sums), scales))
        }

        /// Computes [`steps`] of sums with `BIAS` added. Negative results stay negative.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_of_biased(sums: Sums, scales: Scales) -> Sums {
            let offset = mul_ps(scales, set1_ps(-8_388_608.0));
            cvtps_epi32(fmadd_ps(cast_ps(sums), scales, offset))
        }

        /// Returns `LANES` multipliers from byte `at`, with exponents from byte `exponents`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
            multipliers(vector(from, at), vector(from, exponents))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn multipliers(all: Integers, exponents: Integers) -> Multipliers {
            let zero = setzero();
            let right = max_epi32(sub_epi32(zero, exponents), zero);
            Multipliers {
                all,
                odd: srli_epi64::<32>(all),
                left: max_epi32(exponents, zero),
                right,
                half: srli_epi32::<1>(sllv_epi32(set1_epi32(1), right)),
            }
        }

        /// Computes [`load_multipliers`] for factors with negative exponents.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_small_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> SmallMultipliers {
            let all = vector(from, at);
            let shift = sub_epi32(set1_epi32(-1), vector(from, exponents));
            // Both roundings in one: half of 2^31, and half of the common divisor of both shifts.
            let nudge = |shift| {
                let half = sllv_epi64(set1_epi64(1 << 31), shift);
                add_epi64(half, set1_epi64(1 << 30))
            };
            let even = even_lanes(shift);
            SmallMultipliers {
                all,
                odd: srli_epi64::<32>(all),
                nudges: [nudge(even), nudge(srli_epi64::<32>(shift))],
                shift,
            }
        }

        /// Returns `2 * value * multiplier / 2^32`, rounded to nearest, ties up. No multiplier is negative.
        #[inline]
        #[target_feature(enable = $features)]
        fn high_mul(values: Integers, by: Multipliers) -> Integers {
            let nudge = set1_epi64(1 << 30);
            let even = add_epi64(mul_epi32(values, by.all), nudge);
            let odd = add_epi64(mul_epi32(srli_epi64::<32>(values), by.odd), nudge);
            even_and_odd(srli_epi64::<31>(even), add_epi64(odd, odd))
        }

        /// Returns a product divided by its power of two, rounded half away from zero.
        #[inline]
        #[target_feature(enable = $features)]
        fn divide(product: Integers, by: Multipliers) -> Integers {
            // Magnitudes, so that the sum with half a step cannot overflow.
            let shifted = srlv_epi32(add_epi32(abs_epi32(product), by.half), by.right);
            with_sign_of(shifted, product)
        }

        /// Converts sums to steps of the result's scale in the arithmetic of the reference kernels.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_by_multiplier(sums: Sums, by: Multipliers) -> Sums {
            divide(high_mul(sllv_epi32(sums, by.left), by), by)
        }

        /// Computes [`steps_by_multiplier`] for results with a lower limit of 0. Negative results stay negative or
        /// become 0.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_by_small_multiplier(sums: Sums, by: SmallMultipliers) -> Sums {
            let even = add_epi64(mul_epi32(sums, by.all), by.nudges[0]);
            let odd = add_epi64(mul_epi32(srli_epi64::<32>(sums), by.odd), by.nudges[1]);
            let upper = upper_halves(even, odd);
            srav_epi32(upper, by.shift)
        }

        /// Packs four vectors of steps as results, saturated to 0..=255 only.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn pack_unlimited([a, b, c, d]: [Sums; 4]) -> Packed {
            packus_epi16(packs_epi32(a, b), packs_epi32(c, d))
        }

        /// Packs four vectors of steps as results, with the zero point added.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn pack([a, b, c, d]: [Sums; 4], range: Range) -> Packed {
            // All three numbers are repeated to fill their lanes.
            let moved = |a, b| adds_epi16(packs_epi32(a, b), narrow(range.zero));
            let packed = packus_epi16(moved(a, b), moved(c, d));
            min_epu8(max_epu8(packed, bytes(range.low)), bytes(range.high))
        }

        /// Returns a small number in all 16-bit lanes.
        #[inline]
        #[target_feature(enable = $features)]
        fn narrow(number: Integers) -> Integers {
            packs_epi32(number, number)
        }

        /// Returns a number from 0 to 255 in all bytes.
        #[inline]
        #[target_feature(enable = $features)]
        fn bytes(number: Integers) -> Integers {
            packus_epi16(narrow(number), narrow(number))
        }

        /// Converts steps to results in 32-bit lanes.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn to_range(steps: Sums, range: Range) -> Sums {
            // Limited first: the sum of steps and zero point could overflow.
            let least = sub_epi32(range.low, range.zero);
            let most = sub_epi32(range.high, range.zero);
            add_epi32(min_epi32(max_epi32(steps, least), most), range.zero)
        }

        /// Writes a column of row quads: four results per lane.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // A transposition of four by four bytes in each 128 bits.
            let order = broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
            // SAFETY: as in `vector`.
            unsafe { store(to.address(at, BYTES).cast(), shuffle_epi8(packed, order)) }
        }

        /// Writes four pixels of channel quads. The `LANES / 4` planes have a stride of `plane` bytes.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_planes(to: &mut Dst<'_, u8>, at: usize, plane: usize, packed: Packed) {
            let mut put = |index: usize, quarter| {
                // SAFETY: as in `vector`.
                unsafe { _mm_storeu_si128(to.address(at + index * plane, 16).cast(), quarter) }
            };
            put(0, quarter::<0>(packed));
            put(1, quarter::<1>(packed));
            if LANES > 8 {
                put(2, quarter::<2>(packed));
                put(3, quarter::<3>(packed));
            }
        }

        /// Writes a quad of pixels, in quads of channels.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_packed(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // SAFETY: as in `vector`.
            unsafe { store(to.address(at, BYTES).cast(), packed) }
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
            let pixels = by_pixel(packed);
            let mut put = |index: usize, channels: __m128i| {
                // SAFETY: as in `vector`; `address` is that of `CHANNELS` bytes.
                unsafe { store_first::<CHANNELS>(to.address(at + index * pixel, CHANNELS), channels) }
            };
            put(0, pixel_of::<0>(pixels));
            if PIXELS > 1 {
                put(1, pixel_of::<1>(pixels));
            }
            if PIXELS > 2 {
                put(2, pixel_of::<2>(pixels));
            }
            if PIXELS > 3 {
                put(3, pixel_of::<3>(pixels));
            }
        }

        /// Returns `CHANNELS` bytes from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn some<const CHANNELS: usize>(from: Src<'_, u8>, at: usize) -> __m128i {
            // SAFETY: as in `vector`; `address` is that of `CHANNELS` bytes.
            unsafe { load_first::<CHANNELS>(from.address(at, CHANNELS)) }
        }

        /// Returns the sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of the projection's
        /// scale.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn add<const CHANNELS: usize>(steps: Sums, residual: Src<'_, u8>, at: usize, add: Addends) -> Sums {
            let a = cvtepu8_epi32(some::<CHANNELS>(residual, at));
            let b = min_epi32(max_epi32(steps, add.low), add.high);
            let (a, b) = (mullo_epi32(a, add.left), mullo_epi32(b, add.right));
            sra_epi32(add_epi32(add_epi32(a, add.bias), b), _mm_cvtsi32_si128(add.shift))
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
            let scaled = |value, by| divide(high_mul(shift_operand(value), by), by);
            let a = sub_epi32(cvtepu8_epi32(some::<CHANNELS>(residual, at)), add.zero);
            let b = min_epi32(max_epi32(steps, add.low), add.high);
            let sum = add_epi32(scaled(a, add.left), scaled(b, add.right));
            divide(high_mul(sum, add.sum), add.sum)
        }

        /// Adds lane by lane.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn plus(a: Sums, b: Sums) -> Sums {
            add_epi32(a, b)
        }

        /// Returns the first `CHANNELS` bytes at `at`, minus the zero point.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Sums {
            sub_epi32(cvtepu8_epi32(some::<CHANNELS>(from, at)), range.zero)
        }

        /// Prefetches the cache line at `at`, which may be outside the view.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn prefetch(from: Src<'_, u8>, at: usize) {
            _mm_prefetch::<_MM_HINT_T1>(from.hint(at).cast())
        }
    };
}

pub(super) use x86;
