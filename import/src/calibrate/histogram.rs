//! A histogram of values in bounded memory, filled in one pass.

/// Bins on either side of 0. A value with a single sign has at least 2048 bins for its 256 steps.
const HALF: usize = 4096;

/// Counts of values in bins of one width, a power of two, on both sides of 0.
///
/// The width is the least power of two for which every value has a bin: a larger value doubles it and merges adjacent
/// bins. The result does not depend on the order of values or merges.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Bin `i` counts values in `(i - HALF) * width .. (i + 1 - HALF) * width`. Empty until the first value other than 0.
    bins: Vec<u64>,
    /// log2 of the bin width.
    exponent: i32,
    /// Number of zeros: frequent after an activation, and quantized without error.
    zeros: u64,
    least: f32,
    greatest: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: Vec::new(), exponent: 0, zeros: 0, least: f32::INFINITY, greatest: f32::NEG_INFINITY }
    }
}

impl Histogram {
    /// Counts `values`, which must be finite.
    pub fn insert(&mut self, values: &[f32]) {
        let ends = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        self.cover(ends);
        let width = 2f64.powi(self.exponent);
        for value in values {
            if *value == 0.0 {
                self.zeros += 1;
            } else if let Some(bin) = self.bins.get_mut(bin(f64::from(*value) / width)) {
                *bin += 1;
            }
        }
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.cover((other.least, other.greatest));
        self.zeros += other.zeros;
        let width = 2f64.powi(other.exponent - self.exponent);
        for (at, count) in other.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            if let Some(bin) = self.bins.get_mut(bin((at as f64 - HALF as f64) * width)) {
                *bin += count;
            }
        }
    }

    /// Returns the number of values counted.
    pub fn count(&self) -> u64 {
        self.zeros + self.bins.iter().sum::<u64>()
    }

    /// Returns the number of zeros counted.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Returns the least and the greatest value, or `None` if nothing was counted.
    pub fn ends(&self) -> Option<(f64, f64)> {
        (self.least <= self.greatest).then(|| (f64::from(self.least), f64::from(self.greatest)))
    }

    /// Returns the width of a bin.
    pub fn width(&self) -> f64 {
        2f64.powi(self.exponent)
    }

    /// Iterates over the non-empty bins as (middle, count). Zeros are in no bin.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> {
        let middle = |at: usize| (at as f64 - HALF as f64 + 0.5) * self.width();
        self.bins.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(at, count)| (middle(at), *count))
    }

    /// Returns the quantile at `share` (0 to 1), to within a bin; 0 for an empty histogram.
    pub fn quantile(&self, share: f64) -> f64 {
        let Some((least, greatest)) = self.ends() else { return 0.0 };
        let target = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut below = 0.0;
        // Zeros sort between negative and positive bins.
        let half = self.width() / 2.0;
        let (negative, positive): (Vec<_>, Vec<_>) = self.bins().partition(|(middle, _)| *middle < 0.0);
        let zeros = [(0.0, self.zeros)];
        for (middle, count) in negative.into_iter().chain(zeros).chain(positive).filter(|(_, count)| *count > 0) {
            let count = count as f64;
            if below + count >= target {
                let into = if middle == 0.0 { 0.0 } else { ((target - below) / count * 2.0 - 1.0) * half };
                return (middle + into).clamp(least, greatest);
            }
            below += count;
        }
        greatest
    }

    /// Widens the bins until they cover the given range.
    fn cover(&mut self, (least, greatest): (f32, f32)) {
        self.least = self.least.min(least);
        self.greatest = self.greatest.max(greatest);
        let largest = f64::from(least.abs().max(greatest.abs()));
        if largest == 0.0 || !largest.is_finite() {
            return;
        }
        let needed = exponent_for(largest);
        if self.bins.is_empty() {
            self.bins = vec![0; 2 * HALF];
            self.exponent = needed;
        }
        for _ in self.exponent..needed {
            self.double();
        }
    }

    /// Doubles the bin width by merging adjacent bins.
    fn double(&mut self) {
        let mut joined = vec![0; 2 * HALF];
        for (half, pair) in joined[HALF / 2..].iter_mut().zip(self.bins.chunks_exact(2)) {
            *half = pair.iter().sum();
        }
        self.bins = joined;
        self.exponent += 1;
    }
}

/// Returns the bin of a value given in units of the bin width.
fn bin(steps: f64) -> usize {
    (steps.floor() + HALF as f64) as usize
}

/// Returns the least exponent of a width for which `HALF` bins cover `largest`, inclusive.
fn exponent_for(largest: f64) -> i32 {
    let mut exponent = (largest / HALF as f64).log2().floor() as i32;
    while largest >= HALF as f64 * 2f64.powi(exponent) {
        exponent += 1;
    }
    exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.insert(values);
        histogram
    }

    /// Returns pseudo-random numbers in -1..1, scaled.
    fn noise(count: u32, scale: f32) -> Vec<f32> {
        (0..count).map(|n| ((n.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0) * scale).collect()
    }

    #[test]
    fn the_result_does_not_depend_on_order_or_merges() {
        let (small, large) = (noise(1000, 0.3), noise(500, 77.0));
        let whole = of(&[&small[..], &large].concat());
        let mut grown = of(&small);
        grown.insert(&large);
        let mut merged = of(&large);
        merged.merge(&of(&small));
        assert_eq!(grown, whole);
        assert_eq!(merged, whole);
        assert_eq!(whole.count(), 1500);
        let mut none = Histogram::default();
        none.merge(&whole);
        none.merge(&Histogram::default());
        assert_eq!(none, whole);
    }

    #[test]
    fn every_value_is_in_its_bin() {
        for value in [1.0_f32, -1.0, 6.0, -6.0, 1e-30, -3e38, f32::MAX, f32::MIN, 5.999_999, f32::from_bits(1)] {
            let histogram = of(&[value]);
            let bins: Vec<_> = histogram.bins().collect();
            assert_eq!(bins.len(), 1, "{value}");
            let (middle, count) = bins[0];
            assert_eq!(count, 1);
            assert!((middle - f64::from(value)).abs() <= histogram.width() / 2.0, "{value} in the bin of {middle}");
            assert!(histogram.width() * HALF as f64 <= 2.0 * f64::from(value.abs()), "{value}: bins could be finer");
        }
    }

    #[test]
    fn zeros_are_counted_separately() {
        let histogram = of(&[0.0, -0.0, 0.0, 2.0]);
        assert_eq!((histogram.zeros(), histogram.count(), histogram.bins().count()), (3, 4, 1));
        assert_eq!(histogram.ends(), Some((0.0, 2.0)));
        assert_eq!(of(&[0.0]).ends(), Some((0.0, 0.0)));
        assert_eq!(of(&[]).ends(), None);
    }

    #[test]
    fn quantiles_match_the_sorted_values() {
        let mut values = noise(10_001, 3.0);
        let histogram = of(&values);
        values.sort_by(f32::total_cmp);
        for share in [0.0, 0.001, 0.25, 0.5, 0.9, 0.9999, 1.0] {
            let exact = f64::from(values[(share * 10_000.0) as usize]);
            let found = histogram.quantile(share);
            assert!((found - exact).abs() < 0.01, "{share}: {found}, not {exact}");
        }
        // Three quarters are zeros.
        let many = of(&[0.0, 0.0, 0.0, 1.0]);
        assert_eq!(many.quantile(0.7), 0.0);
        assert!((many.quantile(0.99) - 1.0).abs() < 0.01);
        assert_eq!(of(&[]).quantile(0.5), 0.0);
    }
}
