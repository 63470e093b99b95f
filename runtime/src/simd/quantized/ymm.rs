//! What all quantized kernels in vectors of 256 bits share: eight lanes, whatever multiplies.

/// Defines the shared vocabulary for the given target features.
macro_rules! ymm {
    ($features:literal) => {
        use core::arch::x86_64::*;

        use $crate::quantized::arithmetic::LEFT_SHIFT;
        pub use $crate::simd::quantized::xmm::store_ends;
        use $crate::simd::quantized::{Addends as AddendsOf, FixedAddends as FixedAddendsOf, Range as RangeOf};
        use $crate::simd::{Dst, Src};

        /// Lanes of a vector.
        pub const LANES: usize = 8;

        /// An integer for each lane.
        pub type Sums = __m256i;
        /// A float for each lane.
        pub type Scales = __m256;
        /// Four results for each lane, as bytes: `[lanes / 4][which of the four][4 lanes]`.
        pub type Packed = __m256i;
        /// A header's zero point and limits, each in every lane.
        pub type Range = RangeOf<__m256i>;
        /// A header's numbers of a residual add, each in every lane but the shift.
        pub type Addends = AddendsOf<__m256i>;
        /// A header's numbers of a residual add of the reference kernels, each in every lane.
        pub type FixedAddends = FixedAddendsOf<__m256i, Multipliers>;

        /// Multipliers, those of odd lanes also in the even ones; shifts before the product and after it; half of what
        /// the latter divides by.
        #[derive(Clone, Copy)]
        pub struct Multipliers {
            all: __m256i,
            odd: __m256i,
            left: __m256i,
            right: __m256i,
            half: __m256i,
        }

        /// Multipliers below one half, those of odd lanes also in the even ones; what is added to products, in 64-bit lanes,
        /// of even and of odd lanes; the shift of a product's upper half.
        #[derive(Clone, Copy)]
        pub struct SmallMultipliers {
            all: __m256i,
            odd: __m256i,
            nudges: [__m256i; 2],
            shift: __m256i,
        }

        /// The bytes of a vector from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn vector(from: Src<'_, u8>, at: usize) -> __m256i {
            // SAFETY: `address` checks the range in debug builds; the planner proves it for generated code.
            unsafe { _mm256_loadu_si256(from.address(at, 32).cast()) }
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
            _mm256_setzero_si256()
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
            unsafe { _mm256_storeu_si256(to.address(at, 32).cast(), sums) }
        }

        /// `LANES` floats from byte `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_scales(from: Src<'_, u8>, at: usize) -> Scales {
            _mm256_castsi256_ps(vector(from, at))
        }

        /// Sums in steps of the result's scale: XNNPACK's arithmetic. Packing proves that none is beyond 32 bits above; what is
        /// too small converts to the least integer, which every use takes for as small as any.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps(sums: Sums, scales: Scales) -> Sums {
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), scales))
        }

        /// [`steps`] of sums that carry `BIAS`; what is below 0 stays below.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_of_biased(sums: Sums, scales: Scales) -> Sums {
            let offset = _mm256_mul_ps(scales, _mm256_set1_ps(-8_388_608.0));
            _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_castsi256_ps(sums), scales, offset))
        }

        /// `LANES` multipliers from byte `at`, their exponents from byte `exponents`.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> Multipliers {
            multipliers(vector(from, at), vector(from, exponents))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn multipliers(all: __m256i, exponents: __m256i) -> Multipliers {
            let zero = _mm256_setzero_si256();
            let right = _mm256_max_epi32(_mm256_sub_epi32(zero, exponents), zero);
            Multipliers {
                all,
                odd: _mm256_srli_epi64::<32>(all),
                left: _mm256_max_epi32(exponents, zero),
                right,
                half: _mm256_srli_epi32::<1>(_mm256_sllv_epi32(_mm256_set1_epi32(1), right)),
            }
        }

        /// [`load_multipliers`] of factors whose exponents are below 0.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn load_small_multipliers(from: Src<'_, u8>, at: usize, exponents: usize) -> SmallMultipliers {
            let all = vector(from, at);
            let shift = _mm256_sub_epi32(_mm256_set1_epi32(-1), vector(from, exponents));
            // Both roundings in one: half of 2^31, and half of what both shifts divide by.
            let nudge = |shift| {
                let half = _mm256_sllv_epi64(_mm256_set1_epi64x(1 << 31), shift);
                _mm256_add_epi64(half, _mm256_set1_epi64x(1 << 30))
            };
            let even = _mm256_blend_epi32::<0xaa>(shift, _mm256_setzero_si256());
            SmallMultipliers {
                all,
                odd: _mm256_srli_epi64::<32>(all),
                nudges: [nudge(even), nudge(_mm256_srli_epi64::<32>(shift))],
                shift,
            }
        }

        /// `2 * value * multiplier / 2^32`, rounded to the nearest, halves up. No multiplier is negative.
        #[inline]
        #[target_feature(enable = $features)]
        fn high_mul(values: __m256i, by: Multipliers) -> __m256i {
            let nudge = _mm256_set1_epi64x(1 << 30);
            let even = _mm256_add_epi64(_mm256_mul_epi32(values, by.all), nudge);
            let odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64::<32>(values), by.odd), nudge);
            _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<31>(even), _mm256_add_epi64(odd, odd))
        }

        /// A product divided by its power of two, rounded half away from zero.
        #[inline]
        #[target_feature(enable = $features)]
        fn divide(product: __m256i, by: Multipliers) -> __m256i {
            // Without sign, so that the sum with half a step cannot overflow.
            let shifted = _mm256_srlv_epi32(_mm256_add_epi32(_mm256_abs_epi32(product), by.half), by.right);
            _mm256_sign_epi32(shifted, product)
        }

        /// Sums in steps of the result's scale: the reference kernels' arithmetic.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_by_multiplier(sums: Sums, by: Multipliers) -> Sums {
            divide(high_mul(_mm256_sllv_epi32(sums, by.left), by), by)
        }

        /// [`steps_by_multiplier`] for results that are limited to 0 and more: what is below 0 stays there, or becomes 0.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn steps_by_small_multiplier(sums: Sums, by: SmallMultipliers) -> Sums {
            let even = _mm256_add_epi64(_mm256_mul_epi32(sums, by.all), by.nudges[0]);
            let odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64::<32>(sums), by.odd), by.nudges[1]);
            let upper = _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd);
            _mm256_srav_epi32(upper, by.shift)
        }

        /// Four vectors of steps as results, limited to 0..=255 alone.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn pack_unlimited([a, b, c, d]: [Sums; 4]) -> Packed {
            _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d))
        }

        /// Four vectors of steps as results, with the zero point added.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn pack([a, b, c, d]: [Sums; 4], range: Range) -> Packed {
            // All three numbers fill their lanes with copies of themselves.
            let moved = |a, b| _mm256_adds_epi16(_mm256_packs_epi32(a, b), narrow(range.zero));
            let packed = _mm256_packus_epi16(moved(a, b), moved(c, d));
            _mm256_min_epu8(_mm256_max_epu8(packed, bytes(range.low)), bytes(range.high))
        }

        /// A small number in every lane, in every 16 bits.
        #[inline]
        #[target_feature(enable = $features)]
        fn narrow(number: __m256i) -> __m256i {
            _mm256_packs_epi32(number, number)
        }

        /// A number from 0 to 255 in every lane, in every byte.
        #[inline]
        #[target_feature(enable = $features)]
        fn bytes(number: __m256i) -> __m256i {
            _mm256_packus_epi16(narrow(number), narrow(number))
        }

        /// Steps as results that are still 32 bits wide.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn to_range(steps: Sums, range: Range) -> Sums {
            // Limited first: the sum of steps and zero point could overflow.
            let least = _mm256_sub_epi32(range.low, range.zero);
            let most = _mm256_sub_epi32(range.high, range.zero);
            _mm256_add_epi32(_mm256_min_epi32(_mm256_max_epi32(steps, least), most), range.zero)
        }

        /// The zero point and the limits that a header holds.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn range(header: Src<'_, u8>) -> Range {
            let number = |at| _mm256_set1_epi32(word(header, at));
            RangeOf { zero: number(0), low: number(4), high: number(8) }
        }

        /// Writes a column of row quads: lane by lane, its four results.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_quads(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // A transposition of four by four bytes in each half.
            let order =
                _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
            // SAFETY: as in `vector`.
            unsafe { _mm256_storeu_si256(to.address(at, 32).cast(), _mm256_shuffle_epi8(packed, order)) }
        }

        /// Writes four pixels of channel quads: the `LANES / 4` planes lie `plane` bytes apart.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_planes(to: &mut Dst<'_, u8>, at: usize, plane: usize, packed: Packed) {
            let mut put = |index: usize, quarter| {
                // SAFETY: as in `vector`.
                unsafe { _mm_storeu_si128(to.address(at + index * plane, 16).cast(), quarter) }
            };
            put(0, _mm256_castsi256_si128(packed));
            put(1, _mm256_extracti128_si256::<1>(packed));
        }

        /// Writes a quad of pixels: of all channels, four by four.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn store_packed(to: &mut Dst<'_, u8>, at: usize, packed: Packed) {
            // SAFETY: as in `vector`.
            unsafe { _mm256_storeu_si256(to.address(at, 32).cast(), packed) }
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
            let pixels = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            let mut put = |index: usize, channels: __m128i| {
                let address = to.address(at + index * pixel, CHANNELS);
                match CHANNELS {
                    // SAFETY: as in `vector`.
                    LANES => unsafe { _mm_storel_epi64(address.cast(), channels) },
                    _ => {
                        let bytes = _mm_cvtsi128_si64(channels).to_le_bytes();
                        // SAFETY: as in `vector`; `address` is that of so many bytes.
                        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address, CHANNELS.min(LANES)) }
                    }
                }
            };
            let (low, high) = (_mm256_castsi256_si128(pixels), _mm256_extracti128_si256::<1>(pixels));
            put(0, low);
            if PIXELS > 1 {
                put(1, _mm_unpackhi_epi64(low, low));
            }
            if PIXELS > 2 {
                put(2, high);
            }
            if PIXELS > 3 {
                put(3, _mm_unpackhi_epi64(high, high));
            }
        }

        /// `CHANNELS` bytes from `at`.
        #[inline]
        #[target_feature(enable = $features)]
        fn some<const CHANNELS: usize>(from: Src<'_, u8>, at: usize) -> __m128i {
            let address = from.address(at, CHANNELS);
            match CHANNELS {
                // SAFETY: as in `vector`.
                LANES => unsafe { _mm_loadl_epi64(address.cast()) },
                _ => {
                    let mut bytes = [0; LANES];
                    // SAFETY: as in `vector`; both hold so many bytes.
                    unsafe { core::ptr::copy_nonoverlapping(address, bytes.as_mut_ptr(), CHANNELS.min(LANES)) };
                    _mm_cvtsi64_si128(i64::from_le_bytes(bytes))
                }
            }
        }

        /// The numbers of a residual add that a header holds.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn addends(header: Src<'_, u8>) -> Addends {
            let number = |index: usize| word(header, 16 + index * 4);
            AddendsOf {
                left: _mm256_set1_epi32(number(0)),
                right: _mm256_set1_epi32(number(1)),
                bias: _mm256_set1_epi32(number(2)),
                shift: number(3),
                low: _mm256_set1_epi32(number(4)),
                high: _mm256_set1_epi32(number(5)),
            }
        }

        /// The sum of a projection's steps and the first `CHANNELS` bytes at `at`, in steps of its own scale.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn add<const CHANNELS: usize>(steps: Sums, residual: Src<'_, u8>, at: usize, add: Addends) -> Sums {
            let a = _mm256_cvtepu8_epi32(some::<CHANNELS>(residual, at));
            let b = _mm256_min_epi32(_mm256_max_epi32(steps, add.low), add.high);
            let (a, b) = (_mm256_mullo_epi32(a, add.left), _mm256_mullo_epi32(b, add.right));
            _mm256_sra_epi32(_mm256_add_epi32(_mm256_add_epi32(a, add.bias), b), _mm_cvtsi32_si128(add.shift))
        }

        /// The numbers of a residual add of the reference kernels that a header holds.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn fixed_addends(header: Src<'_, u8>) -> FixedAddends {
            let number = |index: usize| _mm256_set1_epi32(word(header, 64 + index * 4));
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
            let scaled = |value, by| divide(high_mul(_mm256_slli_epi32::<{ LEFT_SHIFT as i32 }>(value), by), by);
            let a = _mm256_sub_epi32(_mm256_cvtepu8_epi32(some::<CHANNELS>(residual, at)), add.zero);
            let b = _mm256_min_epi32(_mm256_max_epi32(steps, add.low), add.high);
            let sum = _mm256_add_epi32(scaled(a, add.left), scaled(b, add.right));
            divide(high_mul(sum, add.sum), add.sum)
        }

        /// Adds lane by lane.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn plus(a: Sums, b: Sums) -> Sums {
            _mm256_add_epi32(a, b)
        }

        /// What padding holds, as a zero point, and the limits of bytes.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn padding(header: Src<'_, u8>) -> Range {
            let zero = _mm256_set1_epi32(word(header, 40));
            RangeOf { zero, low: _mm256_setzero_si256(), high: _mm256_set1_epi32(255) }
        }

        /// The first `CHANNELS` bytes at `at`, less the zero point.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn centered<const CHANNELS: usize>(from: Src<'_, u8>, at: usize, range: Range) -> Sums {
            _mm256_sub_epi32(_mm256_cvtepu8_epi32(some::<CHANNELS>(from, at)), range.zero)
        }

        /// Asks for the cache line at `at`, which may lie outside the view.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn prefetch(from: Src<'_, u8>, at: usize) {
            _mm_prefetch::<_MM_HINT_T1>(from.hint(at).cast())
        }
    };
}

pub(super) use ymm;
