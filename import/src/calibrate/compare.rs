//! Accuracy of a quantized network relative to the float network.

use mbvc_interpreter::run_quantized;
use mbvc_runtime::Preprocess;

use super::input::Input;
use super::network::{Network, Value};
use super::observe::{float_values, not_run};
use crate::container::Container;
use crate::error::{ImportError, Result};
use crate::tensor::Data;

/// Classes of the top-5 comparison.
const FEW: usize = 5;

/// Differences between the float and the quantized network on the same pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    values: Vec<Sums>,
    pictures: usize,
    first: usize,
    among_few: usize,
}

/// Sums over all elements of a value on all pictures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sums {
    product: f64,
    float: f64,
    quantized: f64,
    error: f64,
}

/// Agreement of one value between the two networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fidelity {
    /// Cosine similarity of the values as vectors: 1 if they are proportional.
    pub cosine: f64,
    /// Ratio of signal power to error power, in decibels; infinite if there is no error.
    pub signal_to_noise_db: f64,
}

impl Comparison {
    /// Starts a comparison without pictures.
    pub fn new(network: &Network) -> Self {
        let values = vec![Sums::default(); network.values().len()];
        Self { values, pictures: 0, first: 0, among_few: 0 }
    }

    /// Runs both networks on one picture: interleaved RGB pixels of the network's size.
    ///
    /// # Errors
    /// If the picture or one of the sets of weights does not fit the network.
    pub fn of(
        network: &Network,
        weights: &Container,
        quantized: &Container,
        preprocess: &Preprocess,
        pixels: &[u8],
    ) -> Result<Self> {
        let mut picture = vec![0.0; pixels.len()];
        preprocess.apply(pixels, &mut picture);
        let mut float: Vec<Vec<f32>> = vec![Vec::new(); network.values().len()];
        float_values(network, weights, &picture, &mut |at, values| float[at] = values.to_vec())?;

        let numbers = Input::new(preprocess)?.quantize(pixels);
        let mut comparison = Self::new(network);
        let quants: Vec<(f64, i32)> =
            network.values().iter().map(|value| quant(quantized, value)).collect::<Result<_>>()?;
        let graph = &network.integer;
        let logits = run_quantized(graph, quantized, network.rounding(), &numbers, &mut |origin, _, values| {
            if let Some(at) = network.place(&origin.name) {
                comparison.values[at] = Sums::of(&float[at], values, quants[at]);
            }
        })
        .map_err(|error| not_run(&error))?;
        comparison.pictures = 1;
        let expected = float.last().and_then(|logits| greatest(logits));
        // As in `top_k`, the first of equal logits wins.
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by_key(|class| std::cmp::Reverse(logits[*class]));
        comparison.first = usize::from(order.first().copied() == expected);
        comparison.among_few = usize::from(order.iter().take(FEW).any(|class| Some(*class) == expected));
        Ok(comparison)
    }

    /// Adds another comparison of the same networks.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.values.iter_mut().zip(&other.values) {
            own.product += other.product;
            own.float += other.float;
            own.quantized += other.quantized;
            own.error += other.error;
        }
        self.pictures += other.pictures;
        self.first += other.first;
        self.among_few += other.among_few;
    }

    /// Number of pictures compared.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// Number of pictures with the same top-1 class in both networks.
    pub fn same_first(&self) -> usize {
        self.first
    }

    /// Number of pictures whose top-1 class in the float network is in the quantized network's top 5.
    pub fn among_first_five(&self) -> usize {
        self.among_few
    }

    /// Returns the agreement of each value, in the order of [`Network::values`].
    pub fn values(&self) -> impl Iterator<Item = Fidelity> {
        self.values.iter().map(|sums| sums.fidelity())
    }
}

impl Sums {
    fn of(float: &[f32], numbers: &[i32], (scale, zero_point): (f64, i32)) -> Self {
        let mut sums = Self::default();
        for (exact, number) in float.iter().zip(numbers) {
            let (exact, found) = (f64::from(*exact), scale * f64::from(number - zero_point));
            sums.product += exact * found;
            sums.float += exact * exact;
            sums.quantized += found * found;
            sums.error += (exact - found).powi(2);
        }
        sums
    }

    fn fidelity(self) -> Fidelity {
        let lengths = (self.float * self.quantized).sqrt();
        // Two values that are 0 everywhere agree; one that is 0 alone does not.
        let cosine = if lengths > 0.0 { self.product / lengths } else { f64::from(self.error == 0.0) };
        let ratio = if self.error > 0.0 { self.float / self.error } else { f64::INFINITY };
        Fidelity { cosine, signal_to_noise_db: 10.0 * ratio.log10() }
    }
}

fn quant(container: &Container, value: &Value) -> Result<(f64, i32)> {
    let data = |kind: &str| container.tensor(&format!("{}.{kind}", value.name)).map(|tensor| &tensor.data);
    match (data("scale"), data("zero_point")) {
        (Some(Data::F32(scale)), Some(Data::I32(zero_point))) if scale.len() == 1 && zero_point.len() == 1 => {
            Ok((f64::from(scale[0]), zero_point[0]))
        }
        _ => Err(ImportError::malformed("the quantized weights have no scale or no zero point").role(&*value.name)),
    }
}

/// Returns the index of the greatest element, the first of equal ones.
fn greatest(logits: &[f32]) -> Option<usize> {
    let pick = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    logits.iter().copied().enumerate().reduce(pick).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fidelity_of_known_vectors() {
        let exact = Sums::of(&[0.5, -1.0, 0.0], &[4, 1, 3], (0.5, 3)).fidelity();
        assert_eq!((exact.cosine, exact.signal_to_noise_db), (1.0, f64::INFINITY));
        // Twice the length: the same direction, error power equal to signal power.
        let double = Sums::of(&[0.5, -1.0], &[2, -4], (0.5, 0)).fidelity();
        assert!((double.cosine - 1.0).abs() < 1e-12 && double.signal_to_noise_db.abs() < 1e-12, "{double:?}");
        let across = Sums::of(&[1.0, 0.0], &[0, 2], (0.5, 0)).fidelity();
        assert_eq!(across.cosine, 0.0);
        assert_eq!(Sums::of(&[0.0], &[7], (0.5, 7)).fidelity().cosine, 1.0);
        assert_eq!(Sums::of(&[1.0], &[7], (0.5, 7)).fidelity().cosine, 0.0);
    }

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(greatest(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(greatest(&[]), None);
    }
}
