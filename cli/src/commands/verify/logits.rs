//! Compares the logits of both networks over all images.

use std::path::PathBuf;

use mbvc_compiler::ir::Shape;
use mbvc_runtime::quantized::arithmetic::Quant;

use super::difference::{Difference, Tolerance};

/// Differences of the logits so far.
pub struct Logits {
    tolerance: Tolerance,
    /// Scale and zero point of the logits of a quantized network.
    quant: Option<Quant>,
    images: Vec<One>,
    /// Sum of the mean differences of all images.
    means: f64,
    same_first: usize,
    /// The largest absolute difference, then the one with the highest severity and the index of its image.
    largest: f64,
    worst: Option<(usize, Difference)>,
}

/// An image and the difference of its logits.
#[derive(Debug, Clone)]
pub struct One {
    pub path: PathBuf,
    pub severity: f64,
    pub agrees: bool,
}

impl Logits {
    pub fn new(tolerance: Tolerance, quant: Option<Quant>) -> Self {
        Self { tolerance, quant, images: Vec::new(), means: 0.0, same_first: 0, largest: 0.0, worst: None }
    }

    /// Compares the real logits of the compiled network with the values of the model. For quantized networks both become
    /// steps from the zero point.
    pub fn compare(&mut self, path: PathBuf, ours: &[f32], theirs: &[f64]) {
        let (scale, zero) = self.quant.map_or((1.0, 0), |quant| (quant.scale(), quant.zero_point()));
        let number = |real: &f32| match self.quant {
            None => f64::from(*real),
            Some(_) => f64::from(real / scale).round(),
        };
        let ours: Vec<f64> = ours.iter().map(number).collect();
        let theirs: Vec<f64> = theirs.iter().map(|theirs| theirs - f64::from(zero)).collect();
        self.note(path, &ours, &theirs);
    }

    fn note(&mut self, path: PathBuf, ours: &[f64], theirs: &[f64]) {
        let found = Difference::of(Shape::new(1, 1, theirs.len()), ours, theirs, self.tolerance);
        let severity = found.severity(self.tolerance);
        self.images.push(One { path, severity, agrees: found.agrees() });
        self.means += found.mean;
        self.largest = self.largest.max(found.largest);
        self.same_first += usize::from(first(ours) == first(theirs));
        if self.worst.as_ref().is_none_or(|(_, worst)| severity > worst.severity(self.tolerance)) {
            self.worst = Some((self.images.len() - 1, found));
        }
    }

    pub fn images(&self) -> &[One] {
        &self.images
    }

    /// Number of images with the same top-1 class.
    pub fn same_first(&self) -> usize {
        self.same_first
    }

    /// Number of images with logits beyond the tolerance.
    pub fn differing(&self) -> usize {
        self.images.iter().filter(|one| !one.agrees).count()
    }

    pub fn largest(&self) -> f64 {
        self.largest
    }

    pub fn mean(&self) -> f64 {
        self.means / self.images.len().max(1) as f64
    }

    /// The image with the highest severity, and its difference.
    pub fn worst(&self) -> Option<(&One, &Difference)> {
        self.worst.as_ref().and_then(|(at, difference)| Some((self.images.get(*at)?, difference)))
    }

    /// At most `count` images, the highest severity first.
    pub fn furthest(&self, count: usize) -> Vec<PathBuf> {
        let mut order: Vec<&One> = self.images.iter().collect();
        // Stable: equal severities keep the order of the images.
        order.sort_by(|a, b| b.severity.total_cmp(&a.severity));
        order.into_iter().take(count).map(|one| one.path.clone()).collect()
    }

    /// Size of a quantization step of the logits.
    pub fn step(&self) -> Option<f64> {
        self.quant.map(|quant| f64::from(quant.scale()))
    }
}

/// Index of the maximum, the first of equal ones, as in `top_k`.
fn first(logits: &[f64]) -> Option<usize> {
    let pick = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
    logits.iter().copied().enumerate().reduce(pick).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use mbvc_runtime::quantized::arithmetic::Integer;

    use super::*;

    #[test]
    fn images_are_ranked_by_severity() {
        let mut logits = Logits::new(Tolerance::Relative(0.01), None);
        for (name, ours) in [("a", [1.0, 10.0]), ("b", [3.0, 10.0]), ("c", [10.5, 10.0]), ("d", [1.0, 10.0])] {
            logits.compare(name.into(), &ours, &[1.0, 10.0]);
        }
        assert_eq!((logits.same_first(), logits.differing(), logits.largest()), (3, 2, 9.5));
        assert_eq!(logits.worst().unwrap().0.path, PathBuf::from("c"));
        assert_eq!(logits.furthest(3), ["c", "b", "a"].map(PathBuf::from));
        assert_eq!(logits.mean(), (1.0 + 4.75) / 4.0);
    }

    #[test]
    fn real_logits_become_steps() {
        let quant = Quant::new(0.1, -7, Integer::Int8).unwrap();
        let mut logits = Logits::new(Tolerance::Steps(0.0), Some(quant));
        let real: Vec<f32> = (-128..=127).map(|number| (number - quant.zero_point()) as f32 * quant.scale()).collect();
        let mut theirs: Vec<f64> = (-128..=127).map(f64::from).collect();
        logits.compare("a".into(), &real, &theirs);
        assert_eq!((logits.largest(), logits.differing()), (0.0, 0));
        theirs[130] -= 3.0;
        logits.compare("b".into(), &real, &theirs);
        let (one, worst) = logits.worst().unwrap();
        assert_eq!((one.path.to_str(), worst.largest, worst.at[2]), (Some("b"), 3.0, 130));
        // 2 is 9 steps above the zero point, the maximum 134.
        assert_eq!((worst.ours, worst.theirs, worst.magnitude), (9.0, 6.0, 134.0));
    }
}
