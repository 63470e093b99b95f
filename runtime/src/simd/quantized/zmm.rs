//! What all quantized kernels of AVX-512 share: sixteen lanes, whatever multiplies.

/// Defines the shared vocabulary for the given target features.
macro_rules! zmm {
    ($features:literal) => {
        use core::arch::x86_64::*;

        use $crate::quantized::arithmetic::LEFT_SHIFT;
        pub use $crate::simd::quantized::xmm::store_ends;
        use $crate::simd::quantized::{Addends as AddendsOf, FixedAddends as FixedAddendsOf, Range as RangeOf};
        use $crate::simd::{Dst, Src};

        /// Lanes of a vector.
        pub const LANES: usize = 16;

        /// An integer for each lane.
        pub type Sums = __m512i;
        /// A float for each lane.
        pub type Scales = __m512;
        /// Four results for each lane, as bytes: `[lanes / 4][which of the four][4 lanes]`.
        pub type Packed = __m512i;
        /// A header's zero point and limits, each in every lane.
        pub type Range = RangeOf<__m512i>;
        /// A header's numbers of a residual add, each in every lane but the shift.
        pub type Addends = AddendsOf<__m512i>;
        /// A header's numbers of a residual add of the reference kernels, each in every lane.
        pub type FixedAddends = FixedAddendsOf<__m512i, Multipliers>;

        /// Multipliers, those of odd lanes also in the even ones; shifts before the product and after it; half of what
        /// the latter divides by.
        #[derive(Clone, Copy)]
        pub struct Multipliers {
            all: __m512i,
            odd: __m512i,
            left: __m512i,
            right: __m512i,
            half: __m512i,
        }

        /// Multipliers below one half, those of odd lanes also in the even ones; what is added to products, in 64-bit lanes,
        /// of even and of odd lanes; the shift of a product's upper half.
        #[derive(Clone, Copy)]
        pub struct SmallMultipliers {
            all: __m512i,
            odd: __m512i,
            nudges: [__m512i; 2],
            shift: __m512i,
        }

        /// A mask of the first `N` lanes.
        const fn first<const N: usize>() -> __mmask16 {
            const { assert!(N <= LANES) };
            ((1u32 << N) - 1) as __mmask16
        }

        /// The bytes of a vector from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn vector(from: Src<'_, u8>, at: usize) -> __m512i {
            // SAFETY: `address` checks the range in debug builds; the planner proves it for generated code.
            unsafe { _mm512_loadu_si512(from.address(at, 64).cast()) }
        }

        /// The integer at byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn word(from: Src<'_, u8>, at: usize) -> i32 {
            // SAFETY: as in `vector`.
            unsafe { from.address(at, 4).cast::<i32>().read_unaligned() }
        }

        /// Zeros.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn none() -> Sums {
            _mm512_setzero_si512()
        }

        /// `LANES` integers from byte `at`.
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
            unsafe { _mm512_storeu_si512(to.address(at, 64).cast(), sums) }
        }

        /// `LANES` floats from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
            _mm512_castsi512_ps(vector(from, at))
        }

        /// Sums in steps of the result's scale: XNNPACK's arithmetic. Packing proves that none is beyond 32 bits above; what is
        /// too small converts to the least integer, which every use takes for as small as any.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps(sums: Sums, scales: Scales) -> Sums {
            _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales))
        }

        /// [`steps`] of sums that carry `BIAS`; what is below 0 stays below.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_of_biased(sums: Sums, scales: Scales) -> Sums {
            let offset = _mm512_mul_ps(scales, _mm512_set1_ps(-8_388_608.0));
            _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_castsi512_ps(sums), scales, offset))
        }

        /// `LANES` multipliers from byte `at`, their exponents from byte `exponents`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
            multipliers(vector(from, at), vector(from, exponents))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn multipliers(all: __m512i, exponents: __m512i) -> Multipliers {
            let zero = _mm512_setzero_si512();
            let right = _mm512_max_epi32(_mm512_sub_epi32(zero, exponents), zero);
            Multipliers {
                all,
                odd: _mm512_srli_epi64::<32>(all),
                left: _mm512_max_epi32(exponents, zero),
                right,
                half: _mm512_srli_epi32::<1>(_mm512_sllv_epi32(_mm512_set1_epi32(1), right)),
            }
        }

        /// [`load_multipliers`] of factors whose exponents are below 0.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_small_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> SmallMultipliers {
            let all = vector(from, at);
            let shift = _mm512_sub_epi32(_mm512_set1_epi32(-1), vector(from, exponents));
            // Both roundings in one: half of 2^31, and half of what both shifts divide by.
            let nudge = |shift| {
                let half = _mm512_sllv_epi64(_mm512_set1_epi64(1 << 31), shift);
                _mm512_add_epi64(half, _mm512_set1_epi64(1 << 30))
            };
            let even = _mm512_maskz_mov_epi32(0x5555, shift);
            SmallMultipliers {
                all,
                odd: _mm512_srli_epi64::<32>(all),
                nudges: [nudge(even), nudge(_mm512_srli_epi64::<32>(shift))],
                shift,
            }
        }

        /// `2 * value * multiplier / 2^32`, rounded to the nearest, halves up. No multiplier is negative.
        #[inline]
        #[target_feature(enable = $features)]
        fn high_mul(values: __m512i, by: Multipliers) -> __m512i {
            let nudge = _mm512_set1_epi64(1 << 30);
            let even = _mm512_add_epi64(_mm512_mul_epi32(values, by.all), nudge);
            let odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64::<32>(values), by.odd), nudge);
            _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<31>(even), _mm512_add_epi64(odd, odd))
        }

        /// A product divided by its power of two, rounded half away from zero.
        #[inline]
        #[target_feature(enable = $features)]
        fn divide(product: __m512i, by: Multipliers) -> __m512i {
            // Without sign, so that the sum with half a step cannot overflow.
            let shifted = _mm512_srlv_epi32(_mm512_add_epi32(_mm512_abs_epi32(product), by.half), by.right);
            _mm512_mask_sub_epi32(shifted, _mm512_movepi32_mask(product), _mm512_setzero_si512(), shifted)
        }

        /// Sums in steps of the result's scale: the reference kernels' arithmetic.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_by_multiplier(sums: Sums, by: Multipliers) -> Sums {
            divide(high_mul(_mm512_sllv_epi32(sums, by.left), by), by)
        }

        /// [`steps_by_multiplier`] for results that are limited to 0 and more: what is below 0 stays there, or becomes 0.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_by_small_multiplier(sums: Sums, by: SmallMultipliers) -> Sums {
            let even = _mm512_add_epi64(_mm512_mul_epi32(sums, by.all), by.nudges[0]);
            let odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), by.odd), by.nudges[1]);
            let upper = _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even);
            _mm512_srav_epi32(upper, by.shift)
        }

        /// Four vectors of steps as results, limited to 0..=255 alone.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn pack_unlimited([a, b, c, d]: [Sums; 4]) -> Packed {
            _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d))
        }

        /// Four vectors of steps as results, with the zero point added.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn pack([a, b, c, d]: [Sums; 4], range: Range) -> Packed {
            // All three numbers fill their lanes with copies of themselves.
            let moved = |a, b| _mm512_adds_epi16(_mm512_packs_epi32(a, b), narrow(range.zero));
            let packed = _mm512_packus_epi16(moved(a, b), moved(c, d));
            _mm512_min_epu8(_mm512_max_epu8(packed, bytes(range.low)), bytes(range.high))
        }

        /// A small number in every lane, in every 16 bits.
        #[inline]
        #[target_feature(enable = $features)]
        fn narrow(number: __m512i) -> __m512i {
            _mm512_packs_epi32(number, number)
        }

        /// A number from 0 to 255 in every lane, in every byte.
        #[inline]
        #[target_feature(enable = $features)]
        fn bytes(number: __m512i) -> __m512i {
            _mm512_packus_epi16(narrow(number), narrow(number))
        }

        /// Steps as results that are still 32 bits wide.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn to_range(steps: Sums, range: Range) -> Sums {
            // Limited first: the sum of steps and zero point could overflow.
            let least = _mm512_sub_epi32(range.low, range.zero);
            let most = _mm512_sub_epi32(range.high, range.zero);
            _mm512_add_epi32(_mm512_min_epi32(_mm512_max_epi32(steps, least), most), range.zero)
        }

        /// The zero point and the limits that a header holds.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn range(header: Src<'_, u8>) -> Range {
            let number = |at| _mm512_set1_epi32(word(header, at));
            RangeOf { zero: number(0), low: number(4), high: number(8) }
        }

        /// Writes a column of row quads: lane by lane, its four results.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // A transposition of four by four bytes in each quarter.
            let order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
            // SAFETY: as in `vector`.
            unsafe { _mm512_storeu_si512(to.address(at, 64).cast(), _mm512_shuffle_epi8(packed, order)) }
        }

        /// Writes four pixels of channel quads: the `LANES / 4` planes lie `plane` bytes apart.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_planes(to: &mut Dst<'_, u8>, at: usize, plane: usize, packed: Packed) {
            let mut put = |index: usize, quarter| {
                // SAFETY: as in `vector`.
                unsafe { _mm_storeu_si128(to.address(at + index * plane, 16).cast(), quarter) }
            };
            put(0, _mm512_castsi512_si128(packed));
            put(1, _mm512_extracti32x4_epi32::<1>(packed));
            put(2, _mm512_extracti32x4_epi32::<2>(packed));
            put(3, _mm512_extracti32x4_epi32::<3>(packed));
        }

        /// Writes a quad of pixels: of all channels, four by four.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_packed(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // SAFETY: as in `vector`.
            unsafe { _mm512_storeu_si512(to.address(at, 64).cast(), packed) }
        }

        /// Writes the first `CHANNELS` lanes of the first `PIXELS` pixels, which lie `pixel` bytes apart.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_pixels<const PIXELS: usize, const CHANNELS: usize>(
            to: &mut Dst<'_, u8>,
            at: usize,
            pixel: usize,
            packed: Packed,
        ) {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let pixels = _mm512_permutexvar_epi32(order, packed);
            let mut put = |index: usize, channels| {
                let address = to.address(at + index * pixel, CHANNELS);
                match CHANNELS {
                    // SAFETY: as in `vector`.
                    LANES => unsafe { _mm_storeu_si128(address.cast(), channels) },
                    // SAFETY: as in `vector`; masked bytes are not written.
                    _ => unsafe { _mm_mask_storeu_epi8(address.cast(), first::<CHANNELS>(), channels) },
                }
            };
            put(0, _mm512_castsi512_si128(pixels));
            if PIXELS > 1 {
                put(1, _mm512_extracti32x4_epi32::<1>(pixels));
            }
            if PIXELS > 2 {
                put(2, _mm512_extracti32x4_epi32::<2>(pixels));
            }
            if PIXELS > 3 {
                put(3, _mm512_extracti32x4_epi32::<3>(pixels));
            }
        }

        /// `CHANNELS` bytes from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn some<const CHANNELS: usize>(from: Src<'_, u8>, at: usize) -> __m128i {
            let address = from.address(at, CHANNELS);
            match CHANNELS {
                // SAFETY: as in `vector`.
                LANES => unsafe { _mm_loadu_si128(address.cast()) },
                // SAFETY: as in `vector`; masked bytes are not read.
                _ => unsafe { _mm_maskz_loadu_epi8(first::<CHANNELS>(), address.cast()) },
            }
        }

        /// The numbers of a residual add that a header holds.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn addends(header: Src<'_, u8>) -> Addends {
            let number = |index: usize| word(header, 16 + index * 4);
            AddendsOf {
                left: _mm512_set1_epi32(number(0)),
                right: _mm512_set1_epi32(number(1)),
                bias: _mm512_set1_epi32(number(2)),
                shift: number(3),
                low: _mm512_set1_epi32(number(4)),
                high: _mm512_set1_epi32(number(5)),
            }
        }

        /// The sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of its own scale.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn add<const CHANNELS: usize>(steps: Sums, residual: Src<'_, u8>, at: usize, add: Addends) -> Sums {
            let a = _mm512_cvtepu8_epi32(some::<CHANNELS>(residual, at));
            let b = _mm512_min_epi32(_mm512_max_epi32(steps, add.low), add.high);
            let (a, b) = (_mm512_mullo_epi32(a, add.left), _mm512_mullo_epi32(b, add.right));
            _mm512_sra_epi32(_mm512_add_epi32(_mm512_add_epi32(a, add.bias), b), _mm_cvtsi32_si128(add.shift))
        }

        /// The numbers of a residual add of the reference kernels that a header holds.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn fixed_addends(header: Src<'_, u8>) -> FixedAddends {
            let number = |index: usize| _mm512_set1_epi32(word(header, 64 + index * 4));
            let fixed = |index| multipliers(number(index), number(index + 1));
            FixedAddendsOf {
                zero: number(0),
                left: fixed(1),
                low: number(3),
                high: number(4),
                right: fixed(5),
                sum: fixed(7),
            }
        }

        /// [`add`] as the reference kernels do it.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn add_by_multiplier<const CHANNELS: usize>(
            steps: Sums,
            residual: Src<'_, u8>,
            at: usize,
            add: FixedAddends,
        ) -> Sums {
            // All three factors are below 1.
            let scaled = |value, by| divide(high_mul(_mm512_slli_epi32::<{ LEFT_SHIFT }>(value), by), by);
            let a = _mm512_sub_epi32(_mm512_cvtepu8_epi32(some::<CHANNELS>(residual, at)), add.zero);
            let b = _mm512_min_epi32(_mm512_max_epi32(steps, add.low), add.high);
            let sum = _mm512_add_epi32(scaled(a, add.left), scaled(b, add.right));
            divide(high_mul(sum, add.sum), add.sum)
        }

        /// Adds lane by lane.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn plus(a: Sums, b: Sums) -> Sums {
            _mm512_add_epi32(a, b)
        }

        /// What padding holds, as a zero point, and the limits of bytes.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn padding(header: Src<'_, u8>) -> Range {
            let zero = _mm512_set1_epi32(word(header, 40));
            RangeOf { zero, low: _mm512_setzero_si512(), high: _mm512_set1_epi32(255) }
        }

        /// The first `CHANNELS` bytes at `at`, less the zero point.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Sums {
            _mm512_sub_epi32(_mm512_cvtepu8_epi32(some::<CHANNELS>(from, at)), range.zero)
        }

        /// Asks for the cache line at `at`, which may lie outside the view.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn prefetch(from: Src<'_, u8>, at: usize) {
            _mm_prefetch::<_MM_HINT_T1>(from.hint(at).cast())
        }
    };
}

pub(super) use zmm;
