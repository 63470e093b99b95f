//! From the histogram of a value to the range that its 256 integers cover.

use std::fmt;

use super::histogram::Histogram;

/// Method that selects a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// From the least to the greatest value.
    MinMax,
    /// From the complement of this percentile (50 to 100) to the percentile.
    Percentile(f64),
    /// The range with the least mean squared error of rounding and clipping.
    Mse,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("minmax"),
            Self::Percentile(percentile) => write!(f, "percentile {percentile}"),
            Self::Mse => f.write_str("mse"),
        }
    }
}

/// A range of values. It contains 0, so that padding is exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// At most 0.
    pub low: f64,
    /// At least 0.
    pub high: f64,
}

/// Steps between the 256 integers.
pub const STEPS: f64 = 255.0;

/// Candidate ends for the least error, in 128ths of the observed ends.
const TRIED: std::ops::RangeInclusive<u32> = 16..=128;

impl Range {
    /// Selects the range for `histogram`; 0 to 0 if it is empty.
    pub fn choose(method: Method, histogram: &Histogram) -> Self {
        let Some((least, greatest)) = histogram.ends() else { return Self { low: 0.0, high: 0.0 } };
        let (low, high) = match method {
            Method::MinMax => (least, greatest),
            Method::Percentile(percentile) => {
                let share = percentile / 100.0;
                (histogram.quantile(1.0 - share), histogram.quantile(share))
            }
            Method::Mse => least_error(histogram, least.min(0.0), greatest.max(0.0)),
        };
        Self { low: low.min(0.0), high: high.max(0.0) }
    }

    /// Returns the size of a quantization step; 0 for an empty range.
    pub fn step(self) -> f64 {
        (self.high - self.low) / STEPS
    }
}

/// Sums over the clipped bins, from which the clipping error follows.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(self, (middle, count): (f64, u64)) -> Self {
        let count = count as f64;
        Self {
            count: self.count + count,
            sum: self.sum + count * middle,
            squares: self.squares + count * middle * middle,
        }
    }

    /// Returns the sum of squared distances from `end`.
    fn error(self, end: f64) -> f64 {
        (self.squares - 2.0 * end * self.sum + end * end * self.count).max(0.0)
    }
}

/// Searches both ends on a grid. They are searched together because the step depends on both.
fn least_error(histogram: &Histogram, least: f64, greatest: f64) -> (f64, f64) {
    let total = histogram.bins().map(|(_, count)| count).sum::<u64>() as f64;
    // For each candidate: the end, the number of clipped values, and their error.
    let tried = |end: f64, bins: &mut dyn Iterator<Item = (f64, u64)>| -> Vec<(f64, f64, f64)> {
        let mut bins = bins.peekable();
        let mut beyond = Moments::default();
        let ends = TRIED.rev().map(|part| end * f64::from(part) / f64::from(*TRIED.end()));
        ends.map(|end| {
            while let Some(bin) = bins.next_if(|(middle, _)| middle.abs() > end.abs()) {
                beyond = beyond.add(bin);
            }
            (end, beyond.count, beyond.error(end))
        })
        .collect()
    };
    let lows = tried(least, &mut histogram.bins().filter(|(middle, _)| *middle < 0.0));
    let highs = tried(greatest, &mut histogram.bins().rev().filter(|(middle, _)| *middle > 0.0));
    let mut best = (f64::INFINITY, (least, greatest));
    for (low, below, error_below) in lows {
        for (high, above, error_above) in &highs {
            let step = (high - low) / STEPS;
            let rounded = (total - below - above) * step * step / 12.0;
            let error = rounded + error_below + error_above;
            if error < best.0 {
                best = (error, (low, *high));
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f32>) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.insert(&values.into_iter().collect::<Vec<_>>());
        histogram
    }

    /// Uniform values in -1..=2.
    fn even() -> Histogram {
        of((0..=30_000).map(|n| n as f32 / 10_000.0 - 1.0))
    }

    #[test]
    fn uniform_values_are_not_clipped() {
        assert_eq!(Range::choose(Method::MinMax, &even()), Range { low: -1.0, high: 2.0 });
        let Range { low, high } = Range::choose(Method::Mse, &even());
        assert!(low <= -0.98 && high >= 1.97, "{low} {high}");
        let Range { low, high } = Range::choose(Method::Percentile(90.0), &even());
        assert!((low + 0.7).abs() < 0.002 && (high - 1.7).abs() < 0.002, "{low} {high}");
    }

    #[test]
    fn an_outlier_is_clipped_if_that_reduces_the_error() {
        let with = |outlier: f32| of((0..=30_000).map(|n| n as f32 / 10_000.0 - 1.0).chain([outlier]));
        assert_eq!(Range::choose(Method::MinMax, &with(20.0)).high, 20.0);
        let Range { low, high } = Range::choose(Method::Mse, &with(20.0));
        // (20 - high)^2 + share * (high + 1)^2 is least at the zero of its derivative.
        let share = 30_001.0 / (12.0 * STEPS * STEPS);
        let best = (20.0 - share) / (1.0 + share);
        assert!((high - best).abs() < 20.0 / 128.0 && low < -0.9, "{low} {high}, not {best}");
        let percentile = Range::choose(Method::Percentile(99.99), &with(20.0));
        assert!((percentile.high - 2.0).abs() < 0.01, "{percentile:?}");
    }

    /// Compares the grid search with errors computed from the values.
    #[test]
    fn the_selected_range_has_the_least_error() {
        // A Laplace distribution.
        let count = 300_000_u32;
        let values: Vec<f32> = (0..count)
            .map(|n| {
                let share = (f64::from(n) + 0.5) / f64::from(count) * 2.0 - 1.0;
                (-share.signum() * (1.0 - share.abs()).ln()) as f32
            })
            .collect();
        let error = |low: f64, high: f64| -> f64 {
            let step = (high - low) / STEPS;
            let quantized = |value: f64| (value.clamp(low, high) / step).round() * step;
            values.iter().map(|value| (quantized(f64::from(*value)) - f64::from(*value)).powi(2)).sum()
        };
        let histogram = of(values.iter().copied());
        let Range { low, high } = Range::choose(Method::Mse, &histogram);
        let (least, greatest) = histogram.ends().unwrap();
        let found = error(low, high);
        assert!(found < 0.9 * error(least, greatest), "{found} is not less than {}", error(least, greatest));
        for part in 1..=20 {
            let part = f64::from(part) / 20.0;
            assert!(found <= 1.05 * error(least * part, greatest * part), "{part} would be better than {low} {high}");
        }
    }

    #[test]
    fn ranges_contain_zero_and_may_be_empty() {
        for method in [Method::MinMax, Method::Percentile(99.0), Method::Mse] {
            let above = Range::choose(method, &of([3.0, 4.0, 5.0]));
            assert!(above.low == 0.0 && above.high > 4.0, "{method}: {above:?}");
            let below = Range::choose(method, &of([-3.0, -4.0]));
            assert!(below.high == 0.0 && below.low < -3.0, "{method}: {below:?}");
            assert_eq!(Range::choose(method, &of([0.0; 4])), Range { low: 0.0, high: 0.0 });
            assert_eq!(Range::choose(method, &Histogram::default()), Range { low: 0.0, high: 0.0 });
        }
    }
}
