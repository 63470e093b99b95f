//! The fixed-point weights of a scaled axis.

use alloc::vec;
use alloc::vec::Vec;

use super::filter::Filter;

/// Fraction bits of a weight. A sum of bytes times weights fits in 32 bits with a sign and one spare bit.
pub const PRECISION: u32 = 32 - 8 - 2;

/// Half of the unit of a result, which rounds it to nearest.
pub const HALF: i32 = 1 << (PRECISION - 1);

/// The input samples of one output sample: index of the first, and their weights, at least one.
pub struct Taps {
    pub first: usize,
    pub weights: Vec<i32>,
}

impl Taps {
    /// One more than the index of the last input sample.
    pub fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

/// Taps of the output samples `skip..skip + count` of an axis that is scaled from `from` to `to` samples. Neither end of
/// the taps ever decreases from one output sample to the next.
pub fn taps(filter: Filter, from: usize, to: usize, skip: usize, count: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    // An enlarged sample depends on its neighbors; a reduced one on all samples that it covers.
    let stretch = if filter == Filter::BilinearAliased { 1.0 } else { scale.max(1.0) };
    let reach = filter.reach() * stretch;
    let tap = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        if from == to || filter == Filter::Nearest {
            return Taps { first: (center as usize).min(from.saturating_sub(1)), weights: vec![1 << PRECISION] };
        }
        // The casts truncate, and saturate at 0.
        let first = (center - reach + 0.5) as usize;
        let last = ((center + reach + 0.5) as usize).min(from);
        let weight = |sample: usize| filter.weight((sample as f64 - center + 0.5) / stretch);
        let weights: Vec<f64> = (first..last).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed =
            |weight: f64| (weight / sum * f64::from(1 << PRECISION) + if weight < 0.0 { -0.5 } else { 0.5 }) as i32;
        Taps { first, weights: weights.into_iter().map(fixed).collect() }
    };
    (skip..skip + count).map(tap).collect()
}
