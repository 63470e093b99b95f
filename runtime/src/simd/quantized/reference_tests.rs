//! Tests of every vocabulary that this processor has, function by function, against a scalar reference for each lane.

use std::vec::Vec;

use crate::isa::Isa;
use crate::quantized::DotForm;
use crate::quantized::arithmetic::round_ties_even;
use crate::simd::{Dst, Src};

/// Views bytes of a test.
pub(super) fn src(bytes: &[u8]) -> Src<'_, u8> {
    // SAFETY: tests pass what an operation reads, and debug builds check it.
    unsafe { Src::new(bytes) }
}

/// As [`src`], for writing.
pub(super) fn dst(bytes: &mut [u8]) -> Dst<'_, u8> {
    // SAFETY: as in `src`.
    unsafe { Dst::new(bytes) }
}

/// Pseudorandom numbers, the same in every run.
pub(super) struct Noise(pub u32);

impl Noise {
    fn next(&mut self) -> i32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 ^ self.0 >> 16).cast_signed()
    }

    /// Bytes, a quarter of them at the ends of their range.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| [0, 0x7f, 0x80, 0xff].get((self.next() & 15) as usize).copied().unwrap_or(self.next() as u8))
            .collect()
    }
}

pub(super) fn words(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Steps are compared as 16-bit numbers: no operation distinguishes larger ones.
fn step(sum: i32, scale: f32) -> i32 {
    round_ties_even((sum as f32 * scale).clamp(-32768.0, 32767.0))
}

fn limited(number: i32) -> i32 {
    number.clamp(-32768, 32767)
}

macro_rules! vocabulary {
    ($($module:ident: $isa:ident, $form:ident $(, $feature:literal)?;)*) => {$(
        #[allow(unused_unsafe, reason = "the portable vocabulary is safe to call anywhere")]
        mod $module {
            use super::super::$module::*;
            use super::*;

            const L: usize = LANES;

            $(#[target_feature(enable = $feature)])?
            fn numbers(sums: Sums) -> [i32; L] {
                let mut bytes = [0; L * 4];
                store_sums(&mut dst(&mut bytes), 0, sums);
                core::array::from_fn(|lane| i32::from_ne_bytes(core::array::from_fn(|byte| bytes[lane * 4 + byte])))
            }

            $(#[target_feature(enable = $feature)])?
            fn dots() {
                let (mut noise, form) = (Noise(1), DotForm::$form);
                for round in 0..50 {
                    let (above, below) = (noise.bytes(L * 4 + 3), noise.bytes(L * 4 + 3));
                    let bytes = noise.bytes(L * 4);
                    let weight = |lane: usize, index: usize| match round {
                        0 => -128,
                        1 => 127,
                        _ => i32::from(bytes[lane * 4 + index].cast_signed()),
                    };
                    let mut packed = std::vec![0; form.bytes(L)];
                    assert_eq!(packed.len(), WEIGHTS);
                    for lane in 0..L {
                        form.put(&mut packed, lane, core::array::from_fn(|index| weight(lane, index)));
                    }
                    let start: [i32; L] = core::array::from_fn(|_| noise.next());
                    let start_bytes = words(&start);
                    let expected = |activation: &dyn Fn(usize, usize) -> u8| -> [i32; L] {
                        core::array::from_fn(|lane| {
                            let product = |index| (i32::from(activation(lane, index)) - form.taken()) * weight(lane, index);
                            (0..4).map(product).fold(start[lane], i32::wrapping_add)
                        })
                    };
                    let (a, b, w) = (src(&above), src(&below), weights(src(&packed), 0));
                    let sums = load_sums(src(&start_bytes), 0);
                    for at in 0..4 {
                        let found = numbers(dot(broadcast(a, at), w, sums));
                        assert_eq!(found, expected(&|_, index| above[at + index]), "broadcast");
                        let found = numbers(dot(column(a, at), w, sums));
                        assert_eq!(found, expected(&|lane, index| above[at + lane * 4 + index]), "column");
                        let found = numbers(dot(between(a, b, at), w, sums));
                        let rows = [&below, &below, &above, &above];
                        assert_eq!(found, expected(&|lane, index| rows[index][at + lane * 4 + index]), "between");
                    }
                    let doubled = start.map(|number| number.wrapping_mul(2));
                    assert_eq!(numbers(plus(sums, sums)), doubled);
                    assert_eq!(numbers(plus(none(), sums)), start);
                }
            }

            /// Four vectors of steps, and what they are; halves and what no 16 or 32 bits hold among them.
            $(#[target_feature(enable = $feature)])?
            fn some_steps(noise: &mut Noise, scale: f32) -> ([Sums; 4], [[i32; L]; 4]) {
                // Packing proves that products are 32-bit integers above.
                let most = ((1 << 30) as f32 / scale) as i32;
                let sum = |noise: &mut Noise| match noise.next() & 15 {
                    0 => i32::MIN,
                    1 => i32::MAX,
                    2 => 0,
                    _ => noise.next() >> (noise.next() & 31),
                };
                let sums: [[i32; L]; 4] =
                    core::array::from_fn(|_| core::array::from_fn(|_| sum(noise).min(most)));
                let scale_bytes = scale.to_le_bytes().repeat(L);
                let scales = load_scales(src(&scale_bytes), 0);
                let [mut a, mut b, mut c, mut d] = [none(); 4];
                for (vector, sums) in [&mut a, &mut b, &mut c, &mut d].into_iter().zip(&sums) {
                    *vector = steps(load_sums(src(&words(sums)), 0), scales);
                }
                ([a, b, c, d], sums.map(|sums| sums.map(|sum| step(sum, scale))))
            }

            $(#[target_feature(enable = $feature)])?
            fn finishes() {
                let mut noise = Noise(2);
                for (zero, low, high) in [(0, 0, 255), (128, 128, 255), (255, 3, 255), (37, 37, 190), (7, 9, 9)] {
                    for scale in [0.5, 0.25, 1.0, 255.0, 1e-3, 3.1e-5, 2.4e-9] {
                        let (found, expected) = some_steps(&mut noise, scale);
                        let header = words(&[zero, low, high]);
                        let limits = range(src(&header));
                        let mut index = 0;
                        // `map` and closures that are handed on would lose the target feature.
                        while index < 4 {
                            assert_eq!(numbers(found[index]).map(limited), expected[index], "{scale}");
                            let results = expected[index].map(|step| (step + zero).clamp(low, high));
                            assert_eq!(numbers(to_range(found[index], limits)), results, "{scale} {zero} {low} {high}");
                            index += 1;
                        }
                        let results = expected.map(|steps| steps.map(|step| (step + zero).clamp(low, high) as u8));
                        stores(pack(found, limits), results);
                    }
                }
            }

            /// Every way of writing what was packed, and that nothing else is written.
            $(#[target_feature(enable = $feature)])?
            fn stores(packed: Packed, results: [[u8; L]; 4]) {
                let mut bytes = [1; L * 4 + 8];
                store_quads(&mut dst(&mut bytes), 3, packed);
                let quads: Vec<u8> = (0..L * 4).map(|at| results[at % 4][at / 4]).collect();
                assert_eq!((&bytes[..3], &bytes[3..][..L * 4], &bytes[L * 4 + 3..]), (&[1; 3][..], &quads[..], &[1; 5][..]));
                let planes: Vec<[u8; 16]> = (0..L / 4)
                    .map(|plane| core::array::from_fn(|at| results[at / 4][plane * 4 + at % 4]))
                    .collect();
                let mut bytes = [0; L * 4];
                store_packed(&mut dst(&mut bytes), 0, packed);
                assert_eq!(bytes[..], *planes.as_flattened());
                let mut bytes = [1; L * 8];
                store_planes(&mut dst(&mut bytes), 1, 19, packed);
                let mut expected = [1; L * 8];
                for (index, plane) in planes.iter().enumerate() {
                    expected[1 + index * 19..][..16].copy_from_slice(plane);
                }
                assert_eq!(bytes, expected);
                pixels::<1, 1>(packed, results);
                pixels::<1, L>(packed, results);
                pixels::<2, 3>(packed, results);
                pixels::<3, { L - 1 }>(packed, results);
                pixels::<3, 2>(packed, results);
                pixels::<4, L>(packed, results);
            }

            $(#[target_feature(enable = $feature)])?
            fn pixels<const PIXELS: usize, const CHANNELS: usize>(packed: Packed, results: [[u8; L]; 4]) {
                let mut bytes = [1; L * 6];
                store_pixels::<PIXELS, CHANNELS>(&mut dst(&mut bytes), 2, L + 1, packed);
                let mut expected = [1; L * 6];
                for (index, results) in results.iter().enumerate().take(PIXELS) {
                    expected[2 + index * (L + 1)..][..CHANNELS].copy_from_slice(&results[..CHANNELS]);
                }
                assert_eq!(bytes, expected, "{PIXELS} pixels of {CHANNELS} channels");
            }

            /// Strides of pixels in bytes: those of the stem, at stride 1 and 2.
            $(#[target_feature(enable = $feature)])?
            fn ends<const PIXEL: usize>() {
                let mut noise = Noise(4);
                for at in [8, 11, 29] {
                    let rows: [Vec<u8>; 3] = core::array::from_fn(|_| noise.bytes(at + 3 * PIXEL + 1));
                    let mut bytes = [1; 24];
                    let [a, b, c] = &rows;
                    store_ends::<PIXEL>([src(a), src(b), src(c)], at, &mut dst(&mut bytes), 4);
                    for (pixel, quad) in bytes[4..20].chunks_exact(4).enumerate() {
                        assert_eq!(quad[..3], rows.each_ref().map(|row| row[at + pixel * PIXEL]));
                        assert_eq!(quad[3], 0);
                    }
                    assert_eq!((&bytes[..4], &bytes[20..]), (&[1; 4][..], &[1; 4][..]));
                }
            }

            $(#[target_feature(enable = $feature)])?
            fn residuals<const CHANNELS: usize>() {
                let mut noise = Noise(3);
                for [left, right, bias, shift, low, high] in [
                    [900_000, 1_040_000, 1 << 19, 20, -128, 127],
                    [1 << 20, 3, -77_000_000, 21, 0, 210],
                    [5, 1 << 20, 12_345, 13, -255, 255],
                ] {
                    let header = words(&[0, 0, 0, 0, left, right, bias, shift, low, high, 41]);
                    let (header, from) = (src(&header), noise.bytes(CHANNELS + 2));
                    let (found, expected) = some_steps(&mut noise, 0.7);
                    let addends = addends(header);
                    let mut index = 0;
                    while index < 4 {
                        let sums = numbers(add::<CHANNELS>(found[index], src(&from), 2, addends));
                        for lane in 0..CHANNELS {
                            let b = expected[index][lane].clamp(low, high);
                            let sum = i64::from(left) * i64::from(from[2 + lane]) + i64::from(right) * i64::from(b);
                            assert_eq!(i64::from(sums[lane]), (sum + i64::from(bias)) >> shift, "lane {lane}");
                        }
                        index += 1;
                    }
                    let padding = padding(header);
                    let centered = centered::<CHANNELS>(src(&from), 1, padding);
                    for lane in 0..CHANNELS {
                        assert_eq!(numbers(centered)[lane], i32::from(from[1 + lane]) - 41);
                        assert_eq!(numbers(to_range(centered, padding))[lane], i32::from(from[1 + lane]));
                    }
                }
            }

            fn all(run: impl Fn()) {
                match Isa::$isa.detect() {
                    Some(_) => run(),
                    None => std::println!("skipped: this processor has no {}", Isa::$isa),
                }
            }

            #[test]
            fn products_of_four() {
                // SAFETY: only where the processor has the instruction set.
                all(|| unsafe { dots() });
            }

            #[test]
            fn results_and_where_they_go() {
                // SAFETY: as above.
                all(|| unsafe { finishes() });
            }

            #[test]
            fn ends_of_runs() {
                // SAFETY: as above.
                all(|| unsafe {
                    ends::<3>();
                    ends::<6>();
                });
            }

            #[test]
            fn residual_adds() {
                // SAFETY: as above.
                all(|| unsafe {
                    residuals::<1>();
                    residuals::<{ L - 1 }>();
                    residuals::<L>();
                });
            }
        }
    )*};
}

vocabulary! {
    portable: Portable, Bytes;
}

#[cfg(target_arch = "aarch64")]
vocabulary! {
    neon: Neon, SignedPairs, "neon";
    neondot: NeonDot, SignedBytes, "neon,dotprod";
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
vocabulary! {
    wasm128: Wasm128, Words, "simd128";
}

#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
vocabulary! {
    wasm128pairs: Wasm128Pairs, Words, "simd128,relaxed-simd";
    wasm128dot: Wasm128Dot, Bytes, "simd128,relaxed-simd";
}

/// Products by lane.
#[cfg(target_arch = "aarch64")]
macro_rules! by_lane {
    ($($test:ident: $module:ident, $isa:ident, $form:ident, $feature:literal;)*) => {$(
        #[test]
        fn $test() {
            use super::$module::*;

            #[target_feature(enable = $feature)]
            fn check<const QUAD: usize>() {
                let (mut noise, form) = (Noise(5), DotForm::$form);
                for _ in 0..50 {
                    let (activations, bytes) = (noise.bytes(17), noise.bytes(WEIGHTS));
                    let weight = |lane: usize, index: usize| i32::from(bytes[lane * 4 + index].cast_signed());
                    let mut packed = [0; WEIGHTS];
                    for lane in 0..LANES {
                        form.put(&mut packed, lane, core::array::from_fn(|index| weight(lane, index)));
                    }
                    let quads = sixteen(src(&activations), 1);
                    let sums = dot_lane::<QUAD>(quads, weights(src(&packed), 0), none());
                    let mut found = [0; LANES * 4];
                    store_sums(&mut dst(&mut found), 0, sums);
                    let expected: [i32; LANES] = core::array::from_fn(|lane| {
                        let product = |index| {
                            (i32::from(activations[1 + QUAD * 4 + index]) - form.taken()) * weight(lane, index)
                        };
                        (0..4).map(product).sum()
                    });
                    assert_eq!(found[..], words(&expected), "quad {QUAD}");
                }
            }

            if Isa::$isa.detect().is_some() {
                // SAFETY: only where the processor has the instruction set.
                unsafe {
                    check::<0>();
                    check::<1>();
                    check::<2>();
                    check::<3>();
                }
            }
        }
    )*};
}

#[cfg(target_arch = "aarch64")]
by_lane! {
    neon_multiplies_by_lane: neon, Neon, SignedPairs, "neon";
    neondot_multiplies_by_lane: neondot, NeonDot, SignedBytes, "neon,dotprod";
}

#[cfg(target_arch = "x86_64")]
vocabulary! {
    avx2: Avx2, Words, "avx2,fma";
    avxvnni: AvxVnni, Bytes, "avx2,fma,avxvnni";
    avx512: Avx512, Words, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl";
    avx512vnni: Avx512Vnni, Bytes, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni";
}
