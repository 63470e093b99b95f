//! Statistics of a network's float32 values over pictures.

use mbvc_interpreter::{self as interp, InterpError, Mode};

use super::histogram::Histogram;
use super::network::Network;
use crate::container::Container;
use crate::error::{ImportError, Result};

/// Histograms and means of every value over pictures; the size is independent of their number.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    values: Vec<Observed>,
    pictures: usize,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Observed {
    histogram: Histogram,
    /// Sum of each channel.
    sums: Vec<f64>,
    /// Number of pixels over all pictures.
    pixels: u64,
}

impl Statistics {
    /// Starts statistics without pictures.
    pub fn new(network: &Network) -> Self {
        let none = |channels| Observed { sums: vec![0.0; channels], ..Observed::default() };
        Self { values: network.values().iter().map(|value| none(value.channels)).collect(), pictures: 0 }
    }

    /// Runs the float32 network on one preprocessed picture (NHWC) and collects all its values.
    ///
    /// # Errors
    /// If the picture or the weights do not fit the network, or a value is NaN or infinite.
    pub fn of(network: &Network, weights: &Container, picture: &[f32]) -> Result<Self> {
        let mut statistics = Self::new(network);
        float_values(network, weights, picture, &mut |at, values| {
            let observed = &mut statistics.values[at];
            observed.histogram.insert(values);
            for pixel in values.chunks_exact(observed.sums.len().max(1)) {
                observed.sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
                observed.pixels += 1;
            }
        })?;
        statistics.pictures = 1;
        Ok(statistics)
    }

    /// Adds the statistics of other pictures. Histograms are exact; means depend on the order of merges by rounding.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.values.iter_mut().zip(&other.values) {
            own.histogram.merge(&other.histogram);
            own.sums.iter_mut().zip(&other.sums).for_each(|(own, other)| *own += other);
            own.pixels += other.pixels;
        }
        self.pictures += other.pictures;
    }

    /// Returns the number of pictures.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// Returns the histogram of the value at this index of [`Network::values`].
    pub fn histogram(&self, at: usize) -> &Histogram {
        &self.values[at].histogram
    }

    /// Returns the mean of each channel.
    pub fn means(&self, at: usize) -> Vec<f64> {
        let Observed { sums, pixels, .. } = &self.values[at];
        sums.iter().map(|sum| sum / (*pixels).max(1) as f64).collect()
    }
}

/// Computes the values of the float32 network in float64 and passes each to `see` with its index.
pub(super) fn float_values(
    network: &Network,
    weights: &Container,
    picture: &[f32],
    see: &mut dyn FnMut(usize, &[f32]),
) -> Result<()> {
    let mut odd = None;
    interp::run(&network.float, weights, picture, Mode::F64, &mut |origin, _, values| {
        // Sums before an activation are checked as well, because the activation would hide a NaN.
        if odd.is_some() || values.iter().any(|value| !value.is_finite()) {
            odd.get_or_insert_with(|| origin.name.clone());
        } else if let Some(at) = network.place(&origin.name) {
            see(at, values);
        }
    })
    .map_err(|error| not_run(&error))?;
    match odd {
        None => Ok(()),
        Some(node) => Err(ImportError::unsupported("a value is NaN or infinite in float32")
            .role(node)
            .expected("finite values for every picture")
            .help("check weights and preprocessing with `mbvc classify`: they are not those of a trained network")),
    }
}

pub(super) fn not_run(error: &InterpError) -> Box<ImportError> {
    ImportError::unsupported(format!("the network cannot be run: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::network::tests::{float_weights, spec};
    use super::*;

    fn picture(seed: u32) -> Vec<f32> {
        (0..16 * 16 * 3_u32).map(|n| ((n + seed).wrapping_mul(2_654_435_761) >> 24) as f32 / 127.5 - 1.0).collect()
    }

    #[test]
    fn values_are_counted_after_their_activation() {
        let network = Network::new(&spec("")).unwrap();
        let weights = float_weights(&network);
        let mut both = Statistics::of(&network, &weights, &picture(1)).unwrap();
        both.merge(&Statistics::of(&network, &weights, &picture(2)).unwrap());
        assert_eq!(both.pictures(), 2);
        let counts: BTreeMap<_, _> = network
            .values()
            .iter()
            .enumerate()
            .map(|(at, value)| (value.name.as_str(), both.histogram(at).count()))
            .collect();
        assert_eq!((counts["input"], counts["stem"], counts["classifier"]), (2 * 16 * 16 * 3, 2 * 8 * 8 * 8, 2 * 5));
        assert!(counts.values().all(|count| *count > 0));
        let at = |name: &str| network.values().iter().position(|value| value.name == name).unwrap();
        let (least, greatest) = both.histogram(at("stem")).ends().unwrap();
        assert!(least >= 0.0 && (0.1..=6.0).contains(&greatest), "after ReLU6: {least} to {greatest}");
        // Means are those of the picture.
        let whole: f64 = [1, 2].iter().flat_map(|seed| picture(*seed)).map(f64::from).sum();
        let means = both.means(at("input"));
        assert!((means.iter().sum::<f64>() / 3.0 - whole / (2.0 * 768.0)).abs() < 1e-9, "{means:?}");
    }

    #[test]
    fn overflowing_values_are_reported_with_their_layer() {
        let network = Network::new(&spec("")).unwrap();
        let mut weights = float_weights(&network);
        let stem = weights.tensors.iter_mut().find(|tensor| tensor.name == "block1.project.weight").unwrap();
        stem.data = crate::tensor::Data::F32(vec![f32::MAX; stem.data.len()]);
        let error = Statistics::of(&network, &weights, &picture(1)).unwrap_err();
        assert!(error.to_string().starts_with("block1.project: a value is NaN or infinite"), "{error}");
        let error = Statistics::of(&network, &weights, &[0.0]).unwrap_err();
        assert!(error.to_string().contains("768 values, found 1"), "{error}");
    }
}
