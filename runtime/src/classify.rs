//! From logits to classes: scores and top-k.

use crate::conventions::HeadActivation;
use crate::network::LengthError;

impl HeadActivation {
    /// Returns the default for weights that record none: a sigmoid for a single logit, otherwise a softmax.
    pub const fn default_for(logits: usize) -> Self {
        if logits == 1 { Self::Sigmoid } else { Self::Softmax }
    }

    /// Returns the number of classes: `logits`, or 2 for a single logit with a sigmoid.
    pub const fn classes(self, logits: usize) -> usize {
        if matches!(self, Self::Sigmoid) && logits == 1 { 2 } else { logits }
    }

    /// Whether scores are probabilities.
    pub const fn yields_probabilities(self) -> bool {
        matches!(self, Self::Softmax | Self::Sigmoid)
    }

    /// Computes the scores of all [`classes`](Self::classes).
    ///
    /// # Errors
    /// If `scores` does not have one element per class.
    pub fn apply(self, logits: &[f32], scores: &mut [f32]) -> Result<(), LengthError> {
        LengthError::check("scores", self.classes(logits.len()), scores.len())?;
        match (self, logits, &mut *scores) {
            (Self::Sigmoid, &[logit], [first, second]) => [*first, *second] = [sigmoid(-logit), sigmoid(logit)],
            (Self::Sigmoid, ..) => scores.iter_mut().zip(logits).for_each(|(score, logit)| *score = sigmoid(*logit)),
            (Self::Softmax | Self::LogSoftmax | Self::None, ..) => scores.copy_from_slice(logits),
        }
        match self {
            Self::Softmax => softmax(scores),
            Self::LogSoftmax => log_softmax(scores),
            Self::Sigmoid | Self::None => {}
        }
        Ok(())
    }

    /// Returns the scores of all [`classes`](Self::classes).
    #[cfg(feature = "alloc")]
    pub fn scores(self, logits: &[f32]) -> alloc::vec::Vec<f32> {
        let mut scores = alloc::vec![0.0; self.classes(logits.len())];
        let applied = self.apply(logits, &mut scores);
        debug_assert_eq!(applied, Ok(()), "the length is that of the classes");
        scores
    }
}

/// Turns logits into probabilities in place: `exp(x - max) / sum`.
///
/// Classes at +infinity share the whole probability. One NaN makes every result NaN. If all logits are -infinity, all
/// results are equal.
pub fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if scores.iter().any(|x| x.is_nan()) {
        scores.fill(f32::NAN);
        return;
    }
    let mut sum = 0.0f64;
    for x in scores.iter_mut() {
        // With an infinite maximum, the difference would be NaN for the classes that reach it.
        *x = if *x == max { 1.0 } else { exp(*x - max) };
        sum += f64::from(*x);
    }
    for x in scores.iter_mut() {
        *x = (f64::from(*x) / sum) as f32;
    }
}

/// Turns logits into logarithms of probabilities in place. Extreme logits are treated as by [`softmax`].
fn log_softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if scores.iter().any(|x| x.is_nan()) {
        scores.fill(f32::NAN);
        return;
    }
    let below = |x: f32| if x == max { 0.0 } else { x - max };
    let sum: f64 = scores.iter().map(|x| f64::from(exp(below(*x)))).sum();
    let log = ln(sum as f32);
    scores.iter_mut().for_each(|x| *x = below(*x) - log);
}

/// `1 / (1 + exp(-x))`, without overflow.
fn sigmoid(x: f32) -> f32 {
    if x < 0.0 {
        let power = exp(x);
        return power / (1.0 + power);
    }
    1.0 / (1.0 + exp(-x))
}

/// Writes the `out.len()` largest scores with their indices, largest first, and returns the number written, which is
/// smaller if there are fewer scores. Equal scores keep the order of their indices; NaN comes after every number.
pub fn top_k(scores: &[f32], out: &mut [(usize, f32)]) -> usize {
    let mut found = 0;
    for (index, &score) in scores.iter().enumerate() {
        let better = |than: f32| score > than || (than.is_nan() && !score.is_nan());
        let place = out.iter().take(found).take_while(|entry| !better(entry.1)).count();
        if place == out.len() {
            continue;
        }
        found = out.len().min(found + 1);
        if let Some(tail) = out.get_mut(place..found) {
            tail.rotate_right(1);
            if let Some(slot) = tail.first_mut() {
                *slot = (index, score);
            }
        }
    }
    found
}

/// e^x within 1 ulp for results in the normal range, because core has no `exp`.
///
/// x = k ln 2 + r with |r| <= ln 2 / 2, and a polynomial for e^r; constants and polynomial from Cephes' `expf`
/// (S. Moshier, 1989).
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // few bits, so that k * LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] = [1.987_569_2e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    if x.is_nan() {
        return x;
    }
    if x > 88.722_84 {
        return f32::INFINITY;
    }
    if x < -103.972_08 {
        return 0.0;
    }
    let scaled = x * core::f32::consts::LOG2_E;
    let k = (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32;
    let r = x - k as f32 * LN2_HIGH - k as f32 * LN2_LOW;
    let polynomial = COEFFICIENTS.iter().fold(0.0, |sum, c| sum * r + c);
    let power = polynomial * (r * r) + r + 1.0;
    // 2^k as two factors: one cannot represent 2^128 or subnormal results.
    let half = k / 2;
    power * power_of_two(half) * power_of_two(k - half)
}

/// ln x to within 2e-7 + 1.2e-7 ln x for x from 1 to 2^24, because core has no `ln`.
fn ln(x: f32) -> f32 {
    // x = 2^k m with 1 <= m < 2, and Halley's iteration on `exp`, which converges cubically.
    let k = (x.to_bits() >> 23) as i32 - 127;
    let m = x * power_of_two(-k);
    let log = (0..3).fold(m - 1.0, |log, _| {
        let power = exp(log);
        log + 2.0 * (m - power) / (m + power)
    });
    k as f32 * core::f32::consts::LN_2 + log
}

/// 2^k for k in -126..=127.
fn power_of_two(k: i32) -> f32 {
    f32::from_bits(((k.clamp(-126, 127) + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn ulps(got: f32, exact: f64) -> f64 {
        let exponent = exact.log2().floor().max(-126.0) as i32;
        (f64::from(got) - exact).abs() / 2f64.powi(exponent - 23)
    }

    #[test]
    fn exp_is_within_one_ulp() {
        let step = if cfg!(miri) { 99_700 } else { 997 };
        let worst = (-87_000_000..88_700_000).step_by(step).map(|i| i as f32 * 1e-6);
        let worst = worst.map(|x| ulps(exp(x), f64::from(x).exp())).fold(0.0, f64::max);
        assert!(worst <= 1.0, "{worst} ulp");
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-104.0), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(88.73), f32::INFINITY);
        assert!(exp(88.722).is_finite());
        assert!(exp(f32::NAN).is_nan());
        // Subnormal: to within one step of the subnormal grid.
        assert!((f64::from(exp(-100.0)) - (-100f64).exp()).abs() <= 2f64.powi(-149));
    }

    #[test]
    fn softmax_of_extremes() {
        let run = |scores: &[f32]| {
            let mut scores = scores.to_vec();
            softmax(&mut scores);
            scores
        };
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        assert!(run(&[]).is_empty());
        assert_eq!(run(&[1e30]), [1.0]);
        assert_eq!(run(&[3.0, inf, inf]), [0.0, 0.5, 0.5]);
        assert_eq!(run(&[-inf, -inf]), [0.5, 0.5]);
        assert_eq!(run(&[-inf, 2.0]), [0.0, 1.0]);
        assert!(run(&[nan, 1.0]).iter().all(|x| x.is_nan()));
        assert!(run(&[nan, inf]).iter().all(|x| x.is_nan()));
    }

    #[test]
    fn ln_is_accurate() {
        for x in (0..24_000).step_by(if cfg!(miri) { 100 } else { 1 }).map(|i| 2f32.powf(i as f32 / 1000.0)) {
            let exact = f64::from(x).ln();
            let error = (f64::from(ln(x)) - exact).abs();
            assert!(error <= 2e-7 + 1.2e-7 * exact, "ln {x}: {error}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    /// Expected values from Python's `math`, in float64.
    #[test]
    fn scores_are_those_of_the_activation() {
        let logits = [1.25, -0.5, 3.0];
        let close = |activation: HeadActivation, expected: [f64; 3]| {
            let scores = activation.scores(&logits);
            assert_eq!(scores.len(), activation.classes(3));
            for (score, expected) in scores.iter().zip(expected) {
                assert!((f64::from(*score) - expected).abs() < 3e-7, "{activation}: {score}, expected {expected}");
            }
        };
        close(HeadActivation::Softmax, [0.144333955113, 0.025081480554, 0.830584564333]);
        close(HeadActivation::LogSoftmax, [-1.935625531713, -3.685625531713, -0.185625531713]);
        close(HeadActivation::Sigmoid, [0.777299861175, 0.377540668798, 0.952574126822]);
        assert_eq!(HeadActivation::None.scores(&logits), logits);
    }

    #[test]
    fn a_single_sigmoid_scores_two_classes() {
        let [first, second]: [f32; 2] = HeadActivation::Sigmoid.scores(&[-0.811_9]).try_into().unwrap();
        assert!((second - 0.307_5).abs() < 1e-4 && (first + second - 1.0).abs() < 1e-7, "{first} {second}");
        // Small complements keep their digits.
        let [first, _]: [f32; 2] = HeadActivation::Sigmoid.scores(&[50.0]).try_into().unwrap();
        assert!((f64::from(first) / (-50f64).exp() - 1.0).abs() < 1e-6);
        assert_eq!(HeadActivation::default_for(1), HeadActivation::Sigmoid);
        assert_eq!(HeadActivation::default_for(2), HeadActivation::Softmax);
        assert!(HeadActivation::Sigmoid.apply(&[0.0], &mut [0.0]).is_err());
        assert!(HeadActivation::Softmax.apply(&[0.0, 1.0], &mut [0.0]).is_err());
    }

    #[test]
    fn extreme_logits_have_extreme_scores() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        assert_eq!(HeadActivation::Sigmoid.scores(&[inf, -inf, 0.0]), [1.0, 0.0, 0.5]);
        assert!(HeadActivation::Sigmoid.scores(&[nan, 0.0])[0].is_nan());
        assert_eq!(HeadActivation::LogSoftmax.scores(&[1e30, -inf]), [0.0, -inf]);
        assert_eq!(HeadActivation::LogSoftmax.scores(&[inf, 0.0]), [0.0, -inf]);
        assert!(HeadActivation::LogSoftmax.scores(&[nan, 0.0]).iter().all(|x| x.is_nan()));
        for activation in [HeadActivation::Softmax, HeadActivation::LogSoftmax, HeadActivation::Sigmoid] {
            assert!(activation.scores(&[]).is_empty());
        }
    }

    #[test]
    fn top_k_breaks_ties_by_index_and_puts_nan_last() {
        let scores = [0.5, f32::NAN, 2.0, 0.5, f32::INFINITY, 2.0];
        let mut out = [(0, 0.0); 4];
        assert_eq!(top_k(&scores, &mut out), 4);
        assert_eq!(out, [(4, f32::INFINITY), (2, 2.0), (5, 2.0), (0, 0.5)]);
        let mut all = [(9, 9.0); 8];
        assert_eq!(top_k(&scores, &mut all), 6);
        assert_eq!(all[5].0, 1);
        assert!(all[5].1.is_nan());
        assert_eq!(all[6], (9, 9.0));
        assert_eq!(top_k(&scores, &mut []), 0);
        assert_eq!(top_k(&[], &mut all), 0);
    }

    proptest! {
        #[test]
        fn softmax_agrees_with_f64(scores in proptest::collection::vec(-40f32..40.0, 1..1100)) {
            let max = scores.iter().copied().map(f64::from).fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|&x| (f64::from(x) - max).exp()).sum();
            let mut ours = scores.clone();
            softmax(&mut ours);
            for (x, p) in scores.iter().zip(&ours) {
                let exact = (f64::from(*x) - max).exp() / sum;
                // The subtraction from the maximum rounds once in f32: up to |x - max| / 2 ulp in the result.
                let tolerance = exact * (f64::from(f32::EPSILON) * (2.0 + (max - f64::from(*x)))) + 1e-44;
                prop_assert!((f64::from(*p) - exact).abs() <= tolerance, "{x}: {p} {exact}");
            }
        }

        #[test]
        fn softmax_never_traps(bits in proptest::collection::vec(any::<u32>(), 0..40)) {
            let mut scores: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            softmax(&mut scores);
            let nan = scores.iter().any(|p| p.is_nan());
            let sound = scores.iter().all(|p| if nan { p.is_nan() } else { (0.0..=1.0).contains(p) });
            prop_assert!(sound, "{:?}", scores);
        }

        #[test]
        fn top_k_is_the_head_of_a_stable_sort(small in proptest::collection::vec(-3i8..3, 0..30), k in 0usize..12) {
            let scores: Vec<f32> = small.iter().map(|&x| if x == -3 { f32::NAN } else { f32::from(x) }).collect();
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by_key(|&i| core::cmp::Reverse(small[i]));
            order.truncate(k);
            let mut out = vec![(0, 0.0); k];
            let found = top_k(&scores, &mut out);
            prop_assert_eq!(out[..found].iter().map(|e| e.0).collect::<Vec<_>>(), order);
        }
    }
}
