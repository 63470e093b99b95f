//! Tests of the dot products of 16-bit numbers and of pairs of bytes against scalar sums.

#![allow(unused_unsafe, reason = "functions with target features are safe to call in WebAssembly")]

use std::vec;
use std::vec::Vec;

use super::BIAS;
use super::reference_tests::{Noise, dst, src, words};
use crate::isa::Isa;
use crate::quantized::DotForm;
use crate::quantized::arithmetic::round_ties_even;

/// Four weights per lane: noise, or limited to what a packed row holds.
fn quads(noise: &mut Noise, lanes: usize, form: DotForm) -> Vec<[i32; 4]> {
    let bytes = noise.bytes(lanes * 4);
    let quads = bytes.as_chunks::<4>().0.iter().map(|quad| quad.map(|byte| i32::from(byte.cast_signed())));
    quads.map(|quad| form.part(quad, 0)).collect()
}

fn packed(form: DotForm, quads: &[[i32; 4]]) -> Vec<u8> {
    let mut packed = vec![0; form.bytes(quads.len())];
    quads.iter().enumerate().for_each(|(lane, quad)| form.put(&mut packed, lane, *quad));
    packed
}

fn sum_of(start: i32, activations: &[u8], weights: [i32; 4]) -> i32 {
    activations.iter().zip(weights).fold(start, |sum, (x, w)| sum.wrapping_add(i32::from(*x) * w))
}

macro_rules! products {
    ($($(#[$attribute:meta])* $test:ident: $module:ident, $isa:ident, $feature:literal $($pairs:ident)?;)*) => {$(
        $(#[$attribute])*
        #[test]
        fn $test() {
            use super::$module::{self as vectors, LANES, load_sums, store_sums};

            #[target_feature(enable = $feature)]
            fn check() {
                let mut noise = Noise(3);
                for round in 0..200 {
                    let activations = match round {
                        0 => vec![255; 16],
                        _ => noise.bytes(16),
                    };
                    let start = words(&core::array::from_fn::<i32, LANES, _>(|lane| lane as i32 * 77_777_777));
                    let start_of = |lane| (lane as i32).wrapping_mul(77_777_777);
                    let sums = load_sums(src(&start), 0);
                    let mut found = [0; LANES * 4];
                    let mut expect = |sums, quads: &[[i32; 4]], at: usize, name: &str| {
                        store_sums(&mut dst(&mut found), 0, sums);
                        let sums = quads.iter().enumerate();
                        let expected = sums.map(|(lane, quad)| sum_of(start_of(lane), &activations[at..at + 4], *quad));
                        assert_eq!(found[..], words(&expected.collect::<Vec<_>>()), "{name}, round {round}");
                    };

                    $(
                        let weights = quads(&mut noise, LANES, DotForm::PairedBytes);
                        let bytes = packed(DotForm::PairedBytes, &weights);
                        let dot = vectors::$pairs::dot(
                            vectors::$pairs::broadcast(src(&activations), 5),
                            vectors::$pairs::weights(src(&bytes), 0),
                            sums,
                        );
                        expect(dot, &weights, 5, "pairs");
                    )?

                    let weights = quads(&mut noise, LANES, DotForm::Words);
                    let bytes = packed(DotForm::Words, &weights);
                    let (x, w) = (vectors::broadcast(src(&activations), 3), vectors::weights(src(&bytes), 0));
                    expect(vectors::in_order::dot(x, w, sums), &weights, 3, "in order");

                    // The second of four quads; all are widened, and their products summed.
                    let weights = quads(&mut noise, LANES, DotForm::CrossedWords);
                    let bytes = packed(DotForm::CrossedWords, &weights);
                    let mut wide = [0; 4 * 8 + 4];
                    vectors::widen::<4>(src(&activations), 0, &mut dst(&mut wide), 0);
                    let (x, w) = (vectors::fast::broadcast(src(&wide), 8), vectors::fast::weights(src(&bytes), 0));
                    let dot = vectors::fast::dot(x, w, sums);
                    let pair = |x: &[u8]| i32::from(x[0]) * i32::from(x[1]);
                    // The products of pairs of this quad alone.
                    let pairs = (pair(&activations[4..]) + pair(&activations[6..])).to_le_bytes();
                    let dot = vectors::fast::minus(dot, src(&pairs), 0);
                    store_sums(&mut dst(&mut found), 0, dot);
                    let crossed = |quad: [i32; 4]| quad[0] * quad[1] + quad[2] * quad[3];
                    let expected = weights.iter().enumerate().map(|(lane, quad)| {
                        sum_of(start_of(lane), &activations[4..8], *quad).wrapping_add(crossed(*quad))
                    });
                    assert_eq!(found[..], words(&expected.collect::<Vec<_>>()), "fast, round {round}");
                }
            }

            if Isa::$isa.detect().is_some() {
                // SAFETY: only where the processor has the instruction set.
                unsafe { check() }
            }
        }
    )*};
}

products! {
    #[cfg(target_arch = "x86_64")]
    avx2_adds_exact_products: avx2, Avx2, "avx2,fma" pairs;
    #[cfg(target_arch = "x86_64")]
    avx512_adds_exact_products: avx512, Avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl" pairs;
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    wasm128_adds_exact_products: wasm128, Wasm128, "simd128";
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    wasm128pairs_adds_exact_products: wasm128pairs, Wasm128Pairs, "simd128,relaxed-simd" pairs;
}

/// Compares the requantization of biased sums with scalar rounding.
macro_rules! biased {
    ($($(#[$attribute:meta])* $test:ident: $module:ident, $isa:ident, $feature:literal;)*) => {$(
        $(#[$attribute])*
        #[test]
        fn $test() {
            use super::$module::{LANES, load_scales, load_sums, pack_unlimited, steps_of_biased, store_packed};

            #[target_feature(enable = $feature)]
            fn check(scale: f32, sums: [i32; LANES]) {
                let steps = steps_of_biased(
                    load_sums(src(&words(&sums.map(|sum| sum.wrapping_add(BIAS)))), 0),
                    load_scales(src(&words(&[scale.to_bits().cast_signed(); LANES])), 0),
                );
                let mut found = [0; LANES * 4];
                store_packed(&mut dst(&mut found), 0, pack_unlimited([steps; 4]));
                for (lane, sum) in sums.into_iter().enumerate() {
                    let expected = round_ties_even(sum as f32 * scale).clamp(0, 255) as u8;
                    assert!((0..4).all(|result| byte(&found, result, lane) == expected), "{sum} by {scale}");
                }
            }

            /// Returns a byte of `[lanes / 4][result][4 lanes]`.
            fn byte(packed: &[u8], result: usize, lane: usize) -> u8 {
                packed[lane / 4 * 16 + result * 4 + lane % 4]
            }

            if Isa::$isa.detect().is_none() {
                return;
            }
            for scale in [1.0_f32.next_down(), 0.5, 0.25, 0.1, 0.003, 3.1e-5] {
                // Steps from -2 to 258, at and beside ties, and sums at the limits that packing admits.
                let near = (-4..=516).flat_map(|half| (-1..=1).map(move |by| (half as f32 / 2.0 / scale) as i32 + by));
                let far = [2 - BIAS, -(1 << 24), -(1 << 23), 1 << 23, (1 << 23) + 12_345];
                let saturates = |sum: &i32| *sum <= 1 << 23 || (1 << 23) as f32 * scale >= 255.5;
                let sums: Vec<i32> = near.chain(far).filter(saturates).collect();
                for sum in sums {
                    // SAFETY: `detect` found the instruction set.
                    unsafe { check(scale, core::array::from_fn(|lane| sum - lane as i32 % 2)) }
                }
            }
        }
    )*};
}

biased! {
    #[cfg(target_arch = "x86_64")]
    avx2_requantizes_biased_sums: avx2, Avx2, "avx2,fma";
    #[cfg(target_arch = "x86_64")]
    avx512_requantizes_biased_sums: avx512, Avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl";
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    wasm128_requantizes_biased_sums: wasm128, Wasm128, "simd128";
}

/// Tests whole groups of four quads and the quads after them.
macro_rules! widened {
    ($($(#[$attribute:meta])* $test:ident: $module:ident, $isa:ident, $feature:literal;)*) => {$(
        $(#[$attribute])*
        #[test]
        fn $test() {
            #[target_feature(enable = $feature)]
            fn check<const QUADS: usize>() {
                let x = Noise(9).bytes(QUADS * 4);
                let mut wide = vec![0xaa; QUADS * 8 + 4 + 3];
                super::$module::widen::<QUADS>(src(&x), 0, &mut dst(&mut wide), 1);
                let quads = x.as_chunks::<4>().0.iter().flat_map(|[a, b, c, d]| [*a, 0, *c, 0, *b, 0, *d, 0]);
                let products: i32 = x.as_chunks::<2>().0.iter().map(|[a, b]| i32::from(*a) * i32::from(*b)).sum();
                let expected = [0xaa].into_iter().chain(quads).chain(products.to_le_bytes()).chain([0xaa; 2]);
                assert_eq!(wide, expected.collect::<Vec<_>>(), "{QUADS} quads");
            }
            if Isa::$isa.detect().is_some() {
                // SAFETY: only where the processor has the instruction set.
                unsafe {
                    check::<1>();
                    check::<4>();
                    check::<6>();
                    check::<7>();
                    check::<40>();
                }
            }
        }
    )*};
}

widened! {
    #[cfg(target_arch = "x86_64")]
    xmm_widens_activations: xmm, Avx2, "avx2";
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    wasm128_widens_activations: wasm128, Wasm128, "simd128";
}
