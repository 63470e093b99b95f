//! How near a quantized network comes to the float one.

use mbvc_compiler::interp::run_quantized;
use mbvc_runtime::Preprocess;

use super::input::Input;
use super::network::{Network, Value};
use super::observe::{float_values, not_run};
use crate::container::Container;
use crate::error::{ImportError, Result};
use crate::tensor::Data;

/// Classes that count as the first few.
const FEW: usize = 5;

/// The float network and the quantized one on the same pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    values: Vec<Sums>,
    pictures: usize,
    first: usize,
    among_few: usize,
}

/// Over all elements of a value on all pictures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sums {
    product: f64,
    float: f64,
    quantized: f64,
    error: f64,
}

/// How near one value comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fidelity {
    /// Cosine of the angle between the values as vectors: 1 where they are proportional.
    pub cosine: f64,
    /// Squares of the values over squares of the errors, in decibels; infinite where there is no error.
    pub signal_to_noise_db: f64,
}

impl Comparison {
    /// Of no picture yet.
    pub fn new(network: &Network) -> Self {
        let values = vec![Sums::default(); network.values().len()];
        Self { values, pictures: 0, first: 0, among_few: 0 }
    }

    /// Runs both networks on one picture: interleaved RGB pixels of the network's size.
    ///
    /// # Errors
    /// Where the picture or one of the containers does not fit the network.
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
        let wanted = float.last().and_then(|logits| greatest(logits));
        // As `top_k` does, of equal ones the first comes first.
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by_key(|class| std::cmp::Reverse(logits[*class]));
        comparison.first = usize::from(order.first().copied() == wanted);
        comparison.among_few = usize::from(order.iter().take(FEW).any(|class| Some(*class) == wanted));
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

    /// Pictures that went through both networks.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// Pictures of which both networks name the same class first.
    pub fn same_first(&self) -> usize {
        self.first
    }

    /// Pictures of which the float network's first class is among the quantized one's first five.
    pub fn among_first_five(&self) -> usize {
        self.among_few
    }

    /// In the order of [`Network::values`].
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
        // Two values that are 0 everywhere agree; one alone does not.
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
        _ => Err(ImportError::malformed("the quantized container lacks a scale or a zero point").role(&*value.name)),
    }
}

/// The place of the greatest element, of equal ones the first.
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
        // Twice as long: the same direction, as much error as signal.
        let double = Sums::of(&[0.5, -1.0], &[2, -4], (0.5, 0)).fidelity();
        assert!((double.cosine - 1.0).abs() < 1e-12 && double.signal_to_noise_db.abs() < 1e-12, "{double:?}");
        let across = Sums::of(&[1.0, 0.0], &[0, 2], (0.5, 0)).fidelity();
        assert_eq!(across.cosine, 0.0);
        assert_eq!(Sums::of(&[0.0], &[7], (0.5, 7)).fidelity().cosine, 1.0);
        assert_eq!(Sums::of(&[1.0], &[7], (0.5, 7)).fidelity().cosine, 0.0);
    }

    #[test]
    fn the_first_of_equal_logits_counts() {
        assert_eq!(greatest(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(greatest(&[]), None);
    }
}
