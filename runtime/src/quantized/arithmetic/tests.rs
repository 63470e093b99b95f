use super::fixed::Fixed;
use super::float::{exp, round_ties_even};
use super::*;

fn quant(scale: f32, zero_point: i32) -> Quant {
    Quant::new(scale, zero_point, Integer::Int8).expect("a sound quantization")
}

#[test]
fn ties_go_to_the_even_one() {
    for (value, expected) in
        [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (0.4999, 0), (32767.0, 32767)]
    {
        assert_eq!(round_ties_even(value), expected, "{value}");
    }
}

#[test]
fn scales_and_zero_points_are_checked() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 2.0] {
        assert_eq!(Quant::new(scale, 0, Integer::Int8), None, "{scale}");
    }
    assert_eq!(Quant::new(1.0, 128, Integer::Int8), None);
    assert_eq!(Quant::new(1.0, -1, Integer::Uint8), None);
    assert!(Quant::new(1.0, 255, Integer::Uint8).is_some());
}

/// The two arithmetics differ at ties. One rounds to even, the other rounds up if nothing is shifted.
#[test]
fn the_two_roundings_differ_at_ties() {
    let limits = Integer::Int8.limits();
    let of = |rounding| Requantize::new(rounding, 0.5, 1.0, false, quant(1.0, 0), limits);
    let (xnnpack, reference) = (of(Rounding::Xnnpack), of(Rounding::TfliteReference));
    assert_eq!([1, 3, 5, -1, -3].map(|sum| xnnpack.apply(sum)), [0, 2, 2, 0, -2]);
    assert_eq!([1, 3, 5, -1, -3].map(|sum| reference.apply(sum)), [1, 2, 3, 0, -1]);
}

/// Compares with the same formula in wide integers and floats, at the ends of the range of sums.
#[test]
fn the_ends_of_the_range_saturate() {
    for rounding in [Rounding::Xnnpack, Rounding::TfliteReference] {
        for scale in [1e-6_f32, 0.0123, 0.9, 1.7, 100.0] {
            let requantize = Requantize::new(rounding, scale, 1.0, false, quant(1.0, -7), Integer::Int8.limits());
            for sum in [0, 1, -1, 1 << 20, -(1 << 20), 12_345, -99_999] {
                let exact = f64::from(sum) * f64::from(scale) - 7.0;
                let found = f64::from(requantize.apply(sum));
                assert!((found - exact.clamp(-128.0, 127.0)).abs() < 0.51, "{rounding:?} {scale} {sum}: {found}");
            }
        }
        let requantize = Requantize::new(rounding, 1e-3, 1.0, false, quant(1.0, 0), Integer::Int8.limits());
        assert_eq!([i32::MAX, i32::MIN].map(|sum| requantize.apply(sum)), [127, -128]);
    }
}

#[test]
fn factors_are_those_of_frexp() {
    assert_eq!(Fixed::new(1.0), Fixed { multiplier: 1 << 30, exponent: 1 });
    assert_eq!(Fixed::new(0.75), Fixed { multiplier: 3 << 29, exponent: 0 });
    // The fraction rounds up to 1.
    assert_eq!(Fixed::new(1.0 - 2f64.powi(-40)), Fixed { multiplier: 1 << 30, exponent: 1 });
    assert_eq!(Fixed::new(2f64.powi(-40)).apply(i32::MAX), 0);
    assert_eq!(Fixed::new(0.5).apply(-3), -1);
    assert_eq!(Fixed::new(0.25).apply(-6), -2);
}

#[test]
fn a_clamp_to_six_is_in_steps_of_the_result() {
    let of = |scale, zero_point| {
        let quant = Quant::new(scale, zero_point, Integer::Uint8).expect("sound");
        Limits::activated(Integer::Uint8, quant, true, Rounding::Xnnpack)
    };
    assert_eq!(of(6.0 / 255.0, 0), Limits { low: 0, high: 255 });
    assert_eq!(of(0.05, 10), Limits { low: 10, high: 130 });
    // 2.5 steps round to even, or away from zero.
    let coarse = quant(2.4, 0);
    let high = |rounding| Limits::activated(Integer::Int8, coarse, true, rounding).high;
    assert_eq!((high(Rounding::Xnnpack), high(Rounding::TfliteReference)), (2, 3));
    assert_eq!(
        Limits::activated(Integer::Int8, quant(1e-30, 5), true, Rounding::Xnnpack),
        Limits { low: 5, high: 127 }
    );
}

#[test]
fn sums_are_within_a_step_and_scales_too_far_apart_are_rejected() {
    let (a, b, out) = (quant(0.03, 4), quant(0.2, -9), quant(0.21, 3));
    for rounding in [Rounding::Xnnpack, Rounding::TfliteReference] {
        let add = Add::new(rounding, a, b, out, Integer::Int8.limits()).expect("scales near each other");
        for (x, y) in (-128..128).step_by(5).flat_map(|x| (-128..128).step_by(3).map(move |y| (x, y))) {
            let exact = (0.03 * f64::from(x - 4) + 0.2 * f64::from(y + 9)) / 0.21 + 3.0;
            let found = f64::from(add.apply(x, y));
            assert!((found - exact.clamp(-128.0, 127.0)).abs() < 0.501, "{rounding:?} {x} {y}");
        }
        assert_eq!(Add::new(rounding, quant(1.0, 0), b, quant(1e-3, 0), Integer::Int8.limits()), None);
        assert_eq!(Add::new(rounding, quant(1e-6, 0), b, out, Integer::Int8.limits()), None);
    }
}

#[test]
fn pools_average() {
    let limits = Integer::Int8.limits();
    for rounding in [Rounding::Xnnpack, Rounding::TfliteReference] {
        let mean = Pool::new(rounding, PoolKind::Mean, 49, quant(0.02, -128), quant(0.019, -128), limits);
        let mean = mean.expect("49 pixels");
        for sum in -49 * 128..49 * 127 {
            let exact = (f64::from(sum) / 49.0 + 128.0) * f64::from(0.02_f32) / f64::from(0.019_f32) - 128.0;
            assert!((f64::from(mean.apply(sum)) - exact.min(127.0)).abs() < 0.54, "{rounding:?} {sum}");
        }
        let same = quant(0.02, 5);
        let average = Pool::new(rounding, PoolKind::Average, 4, same, same, limits).expect("one scale");
        assert_eq!([6, 5, -6, -5].map(|sum| average.apply(sum)), [2, 1, -2, -1]);
        for pool in [mean, average] {
            let damaged = [i32::MIN, i32::MAX].map(|sum| pool.apply(sum));
            assert!(damaged.iter().all(|value| (limits.low..=limits.high).contains(value)), "{damaged:?}");
        }
        assert_eq!(Pool::new(rounding, PoolKind::Average, 4, same, quant(0.03, 5), limits), None);
        assert_eq!(Pool::new(rounding, PoolKind::Mean, 0, same, same, limits), None);
        assert_eq!(Pool::new(rounding, PoolKind::Mean, 1 << 23, same, same, limits), None);
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri's `exp` has random errors in the last bit")]
fn powers_are_exact_to_a_float() {
    for step in 0..200_000 {
        let x = -f64::from(step) * 5e-4;
        let (found, expected) = (exp(x), x.exp());
        assert!((found - expected).abs() <= expected * 4e-16, "{x}: {found} {expected}");
    }
    assert_eq!(exp(-1e9), 0.0);
}

#[test]
fn probabilities_sum_up_to_one() {
    let logits = [3_i32, -50, 127, 100, 127];
    let softmax = Softmax::new(Integer::Int8, 0.05);
    let mut found = [0; 5];
    softmax.apply(logits.iter().copied(), |at, value| found[at] = value);
    let total: f64 = logits.iter().map(|logit| (0.05 * f64::from(logit - 127)).exp()).sum();
    for (logit, found) in logits.iter().zip(found) {
        let exact = 256.0 * (0.05 * f64::from(logit - 127)).exp() / total - 128.0;
        assert!((f64::from(found) - exact).abs() <= 0.501, "{logit}: {found} {exact}");
    }
}
