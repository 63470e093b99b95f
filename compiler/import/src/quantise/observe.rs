//! What the values of a network are on pictures, in float.

use mbvc_compiler::interp::{self, InterpError, Mode};

use super::histogram::Histogram;
use super::network::Network;
use crate::container::Container;
use crate::error::{ImportError, Result};

/// Histograms and means of every value over some pictures; their size does not depend on how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    values: Vec<Observed>,
    pictures: usize,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Observed {
    histogram: Histogram,
    /// Of each channel.
    sums: Vec<f64>,
    /// Pixels of all pictures.
    pixels: u64,
}

impl Statistics {
    /// Of no picture yet.
    pub fn new(network: &Network) -> Self {
        let none = |channels| Observed { sums: vec![0.0; channels], ..Observed::default() };
        Self { values: network.values().iter().map(|value| none(value.channels)).collect(), pictures: 0 }
    }

    /// Runs the float32 network on one preprocessed picture (NHWC), and counts all its values.
    ///
    /// # Errors
    /// Where the picture or the weights do not fit the network, or a value is NaN or infinite.
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

    /// Adds what was observed on other pictures. Means are rounded in the order of merging, histograms are exact.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.values.iter_mut().zip(&other.values) {
            own.histogram.merge(&other.histogram);
            own.sums.iter_mut().zip(&other.sums).for_each(|(own, other)| *own += other);
            own.pixels += other.pixels;
        }
        self.pictures += other.pictures;
    }

    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// The histogram of the value at a place of [`Network::values`].
    pub fn histogram(&self, at: usize) -> &Histogram {
        &self.values[at].histogram
    }

    /// The mean of each channel.
    pub fn means(&self, at: usize) -> Vec<f64> {
        let Observed { sums, pixels, .. } = &self.values[at];
        sums.iter().map(|sum| sum / (*pixels).max(1) as f64).collect()
    }
}

/// Shows the values of the network in float, by their places; computed in float64.
pub(super) fn float_values(
    network: &Network,
    weights: &Container,
    picture: &[f32],
    see: &mut dyn FnMut(usize, &[f32]),
) -> Result<()> {
    let mut odd = None;
    interp::run(&network.float, weights, picture, Mode::F64, &mut |origin, _, values| {
        // Before the activation too, which would hide a NaN.
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
            .expected("finite values on every picture")
            .help("weights or preprocessing are not those of a trained network; compare with `mbvc classify`")),
    }
}

pub(super) fn not_run(error: &InterpError) -> Box<ImportError> {
    ImportError::unsupported(format!("the network cannot be run: {error}"))
}
