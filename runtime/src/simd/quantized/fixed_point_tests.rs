//! Tests of the vocabularies' fixed-point arithmetic against TensorFlow Lite's reference kernels, for every instruction
//! set that this processor has.

use std::vec::Vec;

use crate::Isa;
use crate::quantized::HEADER;
use crate::quantized::arithmetic::{Add, Fixed, Integer, Limits, Quant, Requantize, Rounding};
use crate::quantized::header::Header;
use crate::simd::{Dst, Src};

/// Views bytes of a test.
fn src(bytes: &[u8]) -> Src<'_, u8> {
    // SAFETY: tests pass what an operation reads, and debug builds check it.
    unsafe { Src::new(bytes) }
}

/// As [`src`], for writing.
fn dst(bytes: &mut [u8]) -> Dst<'_, u8> {
    // SAFETY: as in `src`.
    unsafe { Dst::new(bytes) }
}

/// From rows of numbers to a vector of them; with what else is read between.
type Steps = unsafe fn(&[u8], &mut [u8]);
type Limited = unsafe fn(&[u8], &[u8], &mut [u8]);
type Sum = unsafe fn(&[u8], &[u8], &[u8], &mut [u8]);

/// Calls of one vocabulary. Vectors are bytes, `lanes * 4` each.
struct Vocabulary {
    name: &'static str,
    isa: Isa,
    lanes: usize,
    /// Sums, multipliers and exponents to steps.
    steps: Steps,
    /// The same where factors are below one half and results above 0.
    small: Option<Steps>,
    /// Steps and a header to sums of results, limited.
    limited: Limited,
    /// Steps, a residual and a header to their sum; and the same of three channels.
    add: Sum,
    add_some: Sum,
}

macro_rules! vocabulary {
    ($module:path, $isa:ident $(, $features:literal $($small:ident)?)?) => {{
        use $module as v;

        $(#[target_feature(enable = $features)])?
        fn steps(rows: &[u8], to: &mut [u8]) {
            let from = src(rows);
            let by = v::load_multipliers(from, v::LANES * 4, v::LANES * 8);
            v::store_sums(&mut dst(to), 0, v::steps_by_multiplier(v::load_sums(from, 0), by));
        }

        $(#[target_feature(enable = $features)])?
        fn limited(rows: &[u8], header: &[u8], to: &mut [u8]) {
            let range = v::range(src(header));
            v::store_sums(&mut dst(to), 0, v::to_range(v::load_sums(src(rows), 0), range));
        }

        $(#[target_feature(enable = $features)])?
        fn add<const CHANNELS: usize>(rows: &[u8], residual: &[u8], header: &[u8], to: &mut [u8]) {
            let add = v::fixed_addends(src(header));
            let steps = v::load_sums(src(rows), 0);
            let sum = v::add_by_multiplier::<CHANNELS>(steps, src(&residual[..CHANNELS]), 0, add);
            v::store_sums(&mut dst(to), 0, sum);
        }

        Vocabulary {
            name: stringify!($module),
            isa: Isa::$isa,
            lanes: v::LANES,
            steps,
            small: vocabulary!(@small $module $($(, $features $small)?)?),
            limited,
            add: add::<{ v::LANES }>,
            add_some: add::<3>,
        }
    }};
    (@small $module:path) => { None };
    (@small $module:path, $features:literal small) => {{
        use $module as v;

        #[target_feature(enable = $features)]
        fn small(rows: &[u8], to: &mut [u8]) {
            let from = src(rows);
            let by = v::load_small_multipliers(from, v::LANES * 4, v::LANES * 8);
            v::store_sums(&mut dst(to), 0, v::steps_by_small_multiplier(v::load_sums(from, 0), by));
        }

        Some(small as Steps)
    }};
}

/// The vocabularies that this processor can run.
fn vocabularies() -> Vec<Vocabulary> {
    let all = std::vec![
        vocabulary!(super::portable, Portable),
        #[cfg(target_arch = "x86_64")]
        vocabulary!(super::avx2, Avx2, "avx2,fma" small),
        #[cfg(target_arch = "x86_64")]
        vocabulary!(super::avxvnni, AvxVnni, "avx2,fma,avxvnni" small),
        #[cfg(target_arch = "x86_64")]
        vocabulary!(super::avx512, Avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl" small),
        #[cfg(target_arch = "x86_64")]
        vocabulary!(super::avx512vnni, Avx512Vnni, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni" small),
        #[cfg(target_arch = "x86_64")]
        vocabulary!(super::avx512vnni::half, Avx512Vnni, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni" small),
        #[cfg(target_arch = "aarch64")]
        vocabulary!(super::neon, Neon, "neon"),
        #[cfg(target_arch = "aarch64")]
        vocabulary!(super::neondot, NeonDot, "neon,dotprod"),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        vocabulary!(super::wasm128, Wasm128, "simd128" small),
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        vocabulary!(super::wasm128dot, Wasm128Dot, "simd128,relaxed-simd" small),
    ];
    all.into_iter().filter(|vocabulary| vocabulary.isa.detect().is_some()).collect()
}

fn bytes(numbers: impl IntoIterator<Item = i32>) -> Vec<u8> {
    numbers.into_iter().flat_map(i32::to_le_bytes).collect()
}

fn numbers(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> i32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as i32
    }
}

/// Ends of the range, ties, what is near them, and noise of all sizes.
fn sums() -> Vec<i32> {
    let mut noise = Noise(5);
    let powers = (0..31).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1, 3 << (power / 2)]);
    let edges = [0, i32::MAX, i32::MAX - 1].into_iter().chain(powers);
    let random: Vec<i32> = (0..500).map(|at| noise.next() >> (at % 31)).collect();
    edges.flat_map(|sum| [sum, -sum]).chain([i32::MIN, i32::MIN + 1]).chain(random).collect()
}

/// Of every exponent from `least` to `most`: the ends of the range of multipliers, and some within.
fn factors(least: i32, most: i32) -> Vec<Fixed> {
    let mut noise = Noise(9);
    let of = |exponent| {
        let random = (noise.next() & 0x3fff_ffff) | 1 << 30;
        [1 << 30, i32::MAX, (1 << 30) + 1, random].map(|multiplier| Fixed { multiplier, exponent })
    };
    (least..=most).flat_map(of).collect()
}

/// Calls `check` with each sum, its factor and the result, in all combinations. Factors differ from lane to lane.
fn each(vocabulary: &Vocabulary, call: Steps, factors: &[Fixed], check: &dyn Fn(i32, Fixed, i32)) {
    let lanes = vocabulary.lanes;
    let (mut sums, mut results) = (sums(), std::vec![0; lanes * 4]);
    sums.resize(sums.len().next_multiple_of(lanes), 0);
    for first in 0..factors.len() {
        // Neighbors in the list have the same exponent: a step of 5 mixes them.
        let factors: Vec<Fixed> = (0..lanes).map(|lane| factors[(first + lane * 5) % factors.len()]).collect();
        for sums in sums.chunks_exact(lanes) {
            let multipliers = factors.iter().map(|factor| factor.multiplier);
            let exponents = factors.iter().map(|factor| factor.exponent);
            let rows = bytes(sums.iter().copied().chain(multipliers).chain(exponents));
            // SAFETY: `vocabularies` has seen that the processor has the features.
            unsafe { call(&rows, &mut results) };
            for ((sum, factor), result) in sums.iter().zip(&factors).zip(numbers(&results)) {
                check(*sum, *factor, result);
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow for an interpreter; reference_tests cover the same loads and stores")]
fn steps_by_multipliers_are_those_of_the_reference_kernels() {
    for vocabulary in vocabularies() {
        let mut all = factors(-31, 30);
        all.push(Fixed { multiplier: 0, exponent: 0 });
        each(&vocabulary, vocabulary.steps, &all, &|sum, factor, result| {
            assert_eq!(result, factor.apply(sum), "{}: {sum} by {factor:?}", vocabulary.name);
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow for an interpreter; reference_tests cover the same loads and stores")]
fn steps_by_small_multipliers_are_the_same_above_zero() {
    for vocabulary in vocabularies() {
        let Some(small) = vocabulary.small else { continue };
        let mut all = factors(-31, -1);
        all.push(Fixed { multiplier: 0, exponent: -1 });
        each(&vocabulary, small, &all, &|sum, factor, result| {
            let expected = factor.apply(sum);
            let same = if expected > 0 { result == expected } else { result <= 0 };
            assert!(same, "{}: {sum} by {factor:?}: {result}, not {expected}", vocabulary.name);
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow for an interpreter; reference_tests cover the same loads and stores")]
fn steps_of_any_size_are_limited() {
    let limits = Limits { low: 3, high: 250 };
    let mut header = [0; HEADER];
    Header(&mut header).range(100, limits, 0);
    for vocabulary in vocabularies() {
        let mut results = std::vec![0; vocabulary.lanes * 4];
        for steps in sums().chunks_exact(vocabulary.lanes) {
            // SAFETY: as in `each`.
            unsafe { (vocabulary.limited)(&bytes(steps.iter().copied()), &header, &mut results) };
            let expected: Vec<i32> = steps.iter().map(|steps| limits.clamp(steps.saturating_add(100))).collect();
            assert_eq!(numbers(&results), expected, "{}: {steps:?}", vocabulary.name);
        }
    }
}

/// Scales from one end of what an add takes to the other, either operand the larger.
#[test]
#[cfg_attr(miri, ignore = "too slow for an interpreter; reference_tests cover the same loads and stores")]
fn sums_of_two_are_those_of_the_reference_kernels() {
    const SCALES: [[f32; 3]; 7] = [
        [0.02, 0.03, 0.04],
        [0.05, 0.011, 0.05],
        [0.1, 0.1, 0.1],
        [1.0 / 1024.0, 1.0, 1.0],
        [255.0, 0.001, 1.0],
        [0.001, 0.001, 1.0],
        [0.3, 200.0, 0.9],
    ];
    let mut noise = Noise(3);
    for (integer, zeros) in
        [(Integer::Int8, [-128, 3, 127]), (Integer::Int8, [17, -128, -5]), (Integer::Uint8, [0, 255, 130])]
    {
        let limits = integer.limits();
        for scales in SCALES {
            let quant = |at: usize| Quant::new(scales[at], zeros[at], integer).expect("a sound quantization");
            let (projected, added, sum) = (quant(0), quant(1), quant(2));
            let add =
                Add::new(Rounding::TfliteReference, projected, added, sum, limits).expect("scales near each other");
            // Its own steps, so that they can be beyond the range.
            let requantize =
                Requantize::new(Rounding::TfliteReference, 1.0, projected.scale(), false, projected, limits);
            let mut header = [0; HEADER];
            let mut writer = Header(&mut header);
            writer.range(sum.zero_point(), limits, -limits.low);
            assert!(writer.addends(add, [projected, added], limits, -limits.low).is_some());
            for vocabulary in vocabularies() {
                let lanes = vocabulary.lanes;
                let mut found = std::vec![0; lanes * 4];
                for turn in 0..200 {
                    let steps: Vec<i32> = (0..lanes).map(|_| noise.next() >> (21 + turn % 4)).collect();
                    let residual: Vec<u8> = (0..lanes).map(|_| noise.next() as u8).collect();
                    let expected: Vec<i32> = steps
                        .iter()
                        .zip(&residual)
                        .map(|(steps, residual)| {
                            let residual = i32::from(*residual) + limits.low;
                            add.apply(requantize.apply(*steps), residual)
                        })
                        .collect();
                    for (call, channels) in [(vocabulary.add, lanes), (vocabulary.add_some, 3)] {
                        // SAFETY: as in `each`.
                        unsafe { call(&bytes(steps.iter().copied()), &residual, &header, &mut found) };
                        let found: Vec<i32> =
                            numbers(&found).into_iter().map(|steps| limits.clamp(steps + sum.zero_point())).collect();
                        assert_eq!(
                            found[..channels],
                            expected[..channels],
                            "{}, {scales:?}, {zeros:?}: {steps:?} and {residual:?}",
                            vocabulary.name
                        );
                    }
                }
            }
        }
    }
}
