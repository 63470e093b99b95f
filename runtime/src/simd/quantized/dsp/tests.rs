//! Tests of the vocabulary against scalar sums and the arithmetic of the interpreter.

use std::vec::Vec;

use super::super::reference_tests::{Noise, dst, src, words};
use super::*;
use crate::quantized::DotForm;
use crate::quantized::arithmetic::round_ties_even;

fn numbers(sums: Sums) -> [i32; LANES] {
    let mut bytes = [0; LANES * 4];
    store_sums(&mut dst(&mut bytes), 0, sums);
    core::array::from_fn(|lane| i32::from_le_bytes(core::array::from_fn(|byte| bytes[lane * 4 + byte])))
}

fn some_words(noise: &mut Noise, count: usize) -> Vec<i32> {
    noise.bytes(count * 4).as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()
}

/// Sums of a tile, and what they are, for weights and activations in their forms.
fn check_tile<const PIXELS: usize, const PLANE: usize, const STEPS: usize>() {
    let mut noise = Noise(5);
    let (values, weights) = (noise.bytes(STEPS * PIXELS * 2), noise.bytes(STEPS * LANES * 2));
    let weight =
        |step: usize, lane: usize, index: usize| i32::from(weights[(step * LANES + lane) * 2 + index].cast_signed());
    let (mut a, mut w) = (std::vec![0; 4 + STEPS * PLANE.max(PIXELS * 4)], std::vec![0; 8 + STEPS * 4]);
    for step in 0..STEPS {
        for (pixel, pair) in values[step * PIXELS * 2..][..PIXELS * 2].as_chunks::<2>().0.iter().enumerate() {
            a[4 + step * PLANE + pixel * 4..][..4].copy_from_slice(&[pair[0], 0, pair[1], 0]);
        }
        let vector = &mut w[8 + step * 4..][..4];
        (0..LANES).for_each(|lane| {
            DotForm::Pairs.put(vector, lane, [weight(step, lane, 0), weight(step, lane, 1), 0, 0]);
        });
    }
    let start = |pixel: usize, lane: usize| (pixel * LANES + lane) as i32 * 77_777_777;
    let sums = core::array::from_fn(|pixel| [Sums(lanes(|lane| start(pixel, lane)))]);
    let found = products::<PIXELS, PLANE, STEPS>(src(&a), 4, src(&w), 8, sums);
    for (pixel, [sums]) in found.into_iter().enumerate() {
        let product = |lane, step: usize, index: usize| {
            i32::from(values[(step * PIXELS + pixel) * 2 + index]) * weight(step, lane, index)
        };
        let sum = |lane| {
            let all = (0..STEPS).flat_map(|step| [0, 1].map(|index| product(lane, step, index)));
            all.fold(start(pixel, lane), i32::wrapping_add)
        };
        assert_eq!(numbers(sums), lanes(sum), "pixel {pixel} of {PIXELS}, {STEPS} steps");
        let step = STEPS - 1;
        let (x, v) = (pairs::broadcast(src(&a), 4 + step * PLANE + pixel * 4), pairs::weights(src(&w), 8 + step * 4));
        let last = lanes(|lane| product(lane, step, 0) + product(lane, step, 1));
        assert_eq!(numbers(pairs::dot(x, v, none())), last);
    }
}

#[test]
fn products_of_tiles() {
    check_tile::<1, 4, 1>();
    check_tile::<2, 40, 3>();
    check_tile::<3, 36, 4>();
    check_tile::<4, 16, 15>();
    check_tile::<4, 5000, 9>();
}

fn check_windows<const ROWS: usize, const COLS: usize, const STRIDE: usize>() {
    let mut noise = Noise(6);
    let columns = (COLS - 1) * STRIDE + 3;
    let quads = [noise.bytes(columns * 8), noise.bytes(columns * 8)];
    let weights: [i16; 9] = core::array::from_fn(|at| noise.bytes(9)[at].into());
    let weights = weights.map(|weight| if weight % 2 == 0 { weight } else { -weight });
    let mut packed = [0; 20 * LANES];
    DotForm::put_window(&mut packed, 1, weights);
    let taps = taps(src(&packed), 20);
    let value = |row: usize, column: usize| i32::from(quads[row / 4][column * 8 + row % 4]);
    let expected = |first: usize, row: usize, col: usize| {
        let product = |tap: usize| value(first + row + tap / 3, col * STRIDE + tap % 3) * i32::from(weights[tap]);
        (0..9).map(product).fold(-1234, i32::wrapping_add)
    };
    let found = within::<ROWS, COLS, STRIDE>(src(&quads[0]), 0, taps, -1234);
    let crossing = between::<ROWS, COLS, STRIDE>(src(&quads[0]), src(&quads[1]), 0, taps, -1234);
    for (row, col) in (0..ROWS).flat_map(|row| (0..COLS).map(move |col| (row, col))) {
        assert_eq!(found[row][col], expected(0, row, col), "{ROWS}x{COLS}, stride {STRIDE}, {row}, {col}");
        assert_eq!(crossing[row][col], expected(2, row, col), "between, {ROWS}x{COLS}, stride {STRIDE}, {row}, {col}");
    }
}

#[test]
fn windows_within_and_between_quads() {
    check_windows::<1, 1, 1>();
    check_windows::<2, 1, 1>();
    check_windows::<1, 2, 1>();
    check_windows::<2, 2, 1>();
    check_windows::<1, 1, 2>();
    check_windows::<1, 2, 2>();
}

/// Sums near the ends of 32 bits, near zero, and of every magnitude.
fn sums(noise: &mut Noise, count: usize) -> Vec<i32> {
    let shifted = |(at, number): (usize, i32)| match at % 11 {
        0 => i32::MIN,
        1 => i32::MAX,
        _ => number >> (at % 32),
    };
    some_words(noise, count).into_iter().enumerate().map(shifted).collect()
}

#[test]
fn results_in_both_roundings() {
    let mut noise = Noise(7);
    for (zero, low, high) in [(0, 0, 255), (128, 128, 255), (255, 3, 255), (37, 37, 190), (7, 9, 9)] {
        let range = Range { zero, low, high };
        fn check<const BIAS: i32>(steps: [Steps<BIAS>; 4], expected: [[i32; LANES]; 4], range: Range) {
            let result = |step: i32| step.saturating_add(range.zero).clamp(range.low, range.high);
            for (steps, expected) in steps.into_iter().zip(expected) {
                assert_eq!(numbers(to_range(steps, range)), expected.map(result));
            }
            let packed = pack(steps, range);
            let mut quads = [0; LANES * 4];
            store_quads(&mut dst(&mut quads), 0, packed);
            let mut pixels = [[0xee; 5]; 4];
            store_pixels::<4, LANES>(&mut dst(pixels.as_flattened_mut()), 1, 5, packed);
            for (pixel, lane) in (0..4).flat_map(|pixel| (0..LANES).map(move |lane| (pixel, lane))) {
                let byte = result(expected[pixel][lane]) as u8;
                assert_eq!((quads[lane * 4 + pixel], pixels[pixel][1 + lane]), (byte, byte));
            }
            assert!(pixels.iter().all(|pixel| pixel[0] == 0xee && pixel[1 + LANES..] == [0xee; 2]));
            let mut some = [[0xee; 3]; 4];
            store_pixels::<3, 1>(&mut dst(some.as_flattened_mut()), 1, 3, packed);
            assert!(some.iter().zip(&pixels).take(3).all(|(some, all)| *some == [0xee, all[1], 0xee]));
            assert_eq!(some[3], [0xee; 3]);
            let mut wide = [0xee; 4];
            store_step(&mut dst(&mut wide), 1, Step::<BIAS>(steps[2].0[1]), range);
            assert_eq!(wide, [0xee, pixels[2][2], 0, 0xee]);
        }
        for scale in [0.5_f32, 0.25, 1.0, 255.0, 1e-3, 3.1e-5, 2.4e-10] {
            let all = sums(&mut noise, 4 * LANES);
            let sums: [[i32; LANES]; 4] = core::array::from_fn(|at| lanes(|lane| all[at * LANES + lane]));
            let step = |sum: i32| round_ties_even((sum as f32 * scale).clamp(-32768.0, 32767.0));
            check(sums.map(|sums| steps(Sums(sums), Scales([scale; LANES]))), sums.map(|sums| sums.map(step)), range);
        }
        for exponent in -31..=30 {
            let all = sums(&mut noise, 4 * LANES + 1);
            let multiplier = all[4 * LANES] & i32::MAX | 1 << 30;
            let by = Fixed { multiplier, exponent };
            let sums: [[i32; LANES]; 4] = core::array::from_fn(|at| lanes(|lane| all[at * LANES + lane]));
            let steps = sums.map(|sums| steps_by_multiplier(Sums(sums), Multipliers([by; LANES])));
            check(steps, sums.map(|sums| sums.map(|sum| by.apply(sum))), range);
        }
    }
}

#[test]
fn fixed_point_factors_are_exact() {
    let mut noise = Noise(8);
    for round in 0..20_000 {
        let numbers = sums(&mut noise, 12);
        let multiplier = numbers[11] & i32::MAX | if round % 3 == 0 { 0x7fff_ff00 } else { 1 << 30 };
        let by = Fixed { multiplier, exponent: round % 62 - 31 };
        for number in numbers {
            assert_eq!(apply(by, number), by.apply(number), "{number} by {by:?}");
        }
    }
}

#[test]
fn residuals_are_added() {
    let mut noise = Noise(9);
    let residual = noise.bytes(8);
    let step = |at: usize| [-300, -3, 0, 200][at % 4] + at as i32;
    let steps = |at: usize| lanes(|lane| step(at + lane));
    let factor = |multiplier, exponent| Fixed { multiplier, exponent };
    for at in 0..6 {
        let addends = Addends { left: 900_000, right: 1_040_000, bias: 1 << 19, shift: 20, low: -128, high: 127 };
        let found = add::<LANES>(Steps(steps(at).map(|step| step + ROUNDED)), src(&residual), at, addends);
        let expected = lanes(|lane| {
            let b = step(at + lane).clamp(-128, 127);
            (addends.bias + addends.left * i32::from(residual[at + lane]) + addends.right * b) >> addends.shift
        });
        assert_eq!(found.0, expected);

        let [left, right, sum] = [factor(1_500_000_000, -1), factor(2_000_000_000, 0), factor(1_700_000_000, -18)];
        let addends = FixedAddends { zero: 41, left, low: -255, high: 180, right, sum };
        let found = add_by_multiplier::<1>(Steps(steps(at)), src(&residual), at, addends);
        let expected = lanes(|lane| {
            let a = if lane < 1 { i32::from(residual[at + lane]) - 41 } else { 0 };
            let b = step(at + lane).clamp(-255, 180);
            sum.apply(left.apply(a << LEFT_SHIFT).wrapping_add(right.apply(b << LEFT_SHIFT)))
        });
        assert_eq!(found.0, expected);

        let padding = Range { zero: 41, low: 0, high: 255 };
        let copied = numbers(to_range(centered::<LANES>(src(&residual), at, padding), padding));
        assert_eq!(copied, lanes(|lane| i32::from(residual[at + lane])));
    }
}

fn check_widened<const RUN: usize>() {
    let bytes = Noise(10).bytes(RUN + 1);
    let mut pairs = std::vec![0xee; RUN.div_ceil(2) * 12 + 4];
    widen::<RUN, 12>(src(&bytes), 1, &mut dst(&mut pairs), 4);
    for pair in 0..RUN.div_ceil(2) {
        let byte = |index: usize| bytes[1..].get(2 * pair + index).copied().unwrap_or(0);
        assert_eq!(pairs[4 + pair * 12..][..4], [byte(0), 0, byte(1), 0], "pair {pair} of {RUN}");
    }
}

#[test]
fn runs_are_widened() {
    check_widened::<1>();
    check_widened::<2>();
    check_widened::<3>();
    check_widened::<4>();
    check_widened::<9>();
    check_widened::<18>();
    check_widened::<23>();
}

#[test]
fn products_of_bytes() {
    let mut noise = Noise(11);
    for _ in 0..100 {
        let (values, bytes, start) = (noise.bytes(4), noise.bytes(WEIGHTS), some_words(&mut noise, LANES));
        let weights = weights(src(&bytes), 0);
        let sums = load_sums(src(&words(&start)), 0);
        let expected = lanes(|lane| {
            let product = |at: usize| i32::from(values[at]) * i32::from(bytes[lane * 4 + at].cast_signed());
            (0..4).map(product).fold(start[lane], i32::wrapping_add)
        });
        assert_eq!(numbers(dot(broadcast(src(&values), 0), weights, sums)), expected);
        assert_eq!(numbers(plus(sums, none())), lanes(|lane| start[lane]));
    }
}
