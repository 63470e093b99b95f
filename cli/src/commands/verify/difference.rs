//! Element-wise difference of two tensors.

use mbvc_compiler::ir::Shape;
use mbvc_import::Layout;

use super::peer::{Numbers, Values};

/// Tolerated difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// For floats: a share of the largest value of the model's tensor.
    Relative(f64),
    /// For integers: a number of quantization steps.
    Steps(f64),
}

impl Tolerance {
    /// The share or the number of steps.
    pub fn number(self) -> f64 {
        match self {
            Self::Relative(number) | Self::Steps(number) => number,
        }
    }

    /// Absolute limit for a tensor whose largest value has this magnitude.
    fn limit(self, magnitude: f64) -> f64 {
        match self {
            Self::Relative(share) => share * magnitude,
            Self::Steps(steps) => steps,
        }
    }
}

/// Difference of two tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Largest absolute difference; infinite if one of the values is NaN.
    pub largest: f64,
    /// Row, column and channel of the largest difference, then both values there.
    pub at: [usize; 3],
    pub ours: f64,
    pub theirs: f64,
    pub mean: f64,
    /// Largest absolute value of the model's tensor.
    pub magnitude: f64,
    /// Elements beyond the tolerance, then their channels.
    pub beyond: usize,
    pub channels: Vec<usize>,
    pub elements: usize,
}

impl Difference {
    /// Compares NHWC values of `shape`.
    pub fn of(shape: Shape, ours: &[f64], theirs: &[f64], tolerance: Tolerance) -> Self {
        let magnitude = theirs.iter().map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, f64::max);
        let limit = tolerance.limit(magnitude);
        let channels = shape.channels.max(1);
        let (mut largest, mut furthest, mut sum, mut beyond) = (0.0, 0, 0.0, 0);
        let mut differing = vec![false; channels];
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let distance = distance(*ours, *theirs);
            sum += distance;
            if distance > largest {
                (largest, furthest) = (distance, at);
            }
            if distance > limit {
                beyond += 1;
                differing[at % channels] = true;
            }
        }
        let elements = ours.len().min(theirs.len());
        let pixel = furthest / channels;
        let value = |values: &[f64]| values.get(furthest).copied().unwrap_or(0.0);
        Self {
            largest,
            at: [pixel / shape.width.max(1), pixel % shape.width.max(1), furthest % channels],
            ours: value(ours),
            theirs: value(theirs),
            mean: sum / elements.max(1) as f64,
            magnitude,
            beyond,
            channels: (0..channels).filter(|channel| differing[*channel]).collect(),
            elements,
        }
    }

    pub fn agrees(&self) -> bool {
        self.beyond == 0
    }

    /// The largest difference as a share of the largest value.
    pub fn relative(&self) -> f64 {
        if self.largest > 0.0 { self.largest / self.magnitude } else { 0.0 }
    }

    /// Rank of a difference among images or tensors, in the unit of `tolerance`.
    pub fn severity(&self, tolerance: Tolerance) -> f64 {
        match tolerance {
            Tolerance::Relative(_) => self.relative(),
            Tolerance::Steps(_) => self.largest,
        }
    }
}

/// Absolute difference; infinite for NaN, which a maximum would drop.
fn distance(ours: f64, theirs: f64) -> f64 {
    if ours == theirs {
        return 0.0;
    }
    let distance = (ours - theirs).abs();
    if distance.is_nan() { f64::INFINITY } else { distance }
}

/// The values of a tensor of the model in NHWC; integers are offset by `low`. `None` if its shape is not `shape`.
pub fn nhwc(values: &Values, layout: Layout, shape: Shape, low: i32) -> Option<Vec<f64>> {
    let Shape { height, width, channels } = shape;
    let dims: &[usize] = match layout {
        Layout::Nchw => &[1, channels, height, width],
        Layout::Nhwc => &[1, height, width, channels],
        Layout::Flat => &[],
    };
    // The layout of a single pixel is unambiguous, however many dimensions of 1 it has.
    let one_pixel = shape.pixels() == 1 && values.shape.iter().product::<usize>() == channels;
    if !one_pixel && values.shape != dims {
        return None;
    }
    let numbers: Vec<f64> = match &values.numbers {
        Numbers::Floats(floats) => floats.iter().map(|value| f64::from(*value)).collect(),
        Numbers::Steps(steps) => steps.iter().map(|step| f64::from(i32::from(*step) + low)).collect(),
    };
    if one_pixel || layout != Layout::Nchw {
        return Some(numbers);
    }
    let pixels = height * width;
    Some((0..pixels).flat_map(|pixel| (0..channels).map(move |c| c * pixels + pixel)).map(|at| numbers[at]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { height: 2, width: 2, channels: 2 };

    #[test]
    fn the_largest_difference_has_its_position() {
        let theirs = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -8.0];
        let mut ours = theirs;
        (ours[3], ours[5]) = (3.5, 5.25);
        let found = Difference::of(SHAPE, &ours, &theirs, Tolerance::Relative(0.05));
        assert_eq!((found.largest, found.at, found.ours, found.theirs), (0.5, [0, 1, 1], 3.5, 3.0));
        assert_eq!((found.magnitude, found.relative(), found.mean), (8.0, 0.0625, 0.75 / 8.0));
        // The limit is 0.4.
        assert_eq!((found.beyond, &*found.channels, found.elements), (1, &[1][..], 8));
        let exact = Difference::of(SHAPE, &ours, &theirs, Tolerance::Steps(0.0));
        assert_eq!((exact.beyond, exact.severity(Tolerance::Steps(0.0))), (2, 0.5));
        assert!(Difference::of(SHAPE, &ours, &theirs, Tolerance::Relative(0.1)).agrees());
        assert_eq!(Difference::of(SHAPE, &theirs, &theirs, Tolerance::Relative(0.0)).largest, 0.0);
    }

    #[test]
    fn nan_never_agrees() {
        for [ours, theirs] in [[f64::NAN, 1.0], [1.0, f64::NAN], [f64::NAN; 2], [f64::INFINITY, 1.0]] {
            let shape = Shape::new(1, 1, 1);
            let found = Difference::of(shape, &[ours], &[theirs], Tolerance::Relative(1e9));
            assert_eq!((found.largest, found.beyond), (f64::INFINITY, 1), "{ours} {theirs}");
        }
        // No difference from a tensor of zeros is within a relative tolerance.
        let found = Difference::of(Shape::new(1, 1, 1), &[1e-9], &[0.0], Tolerance::Relative(0.5));
        assert_eq!((found.relative(), found.beyond), (f64::INFINITY, 1));
    }

    #[test]
    fn layouts_become_nhwc() {
        let shape = Shape::new(1, 3, 2);
        let floats = |shape: &[usize]| Values {
            shape: shape.to_vec(),
            numbers: Numbers::Floats(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        };
        assert_eq!(nhwc(&floats(&[1, 2, 1, 3]), Layout::Nchw, shape, 0).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(nhwc(&floats(&[1, 1, 3, 2]), Layout::Nhwc, shape, 0).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(nhwc(&floats(&[1, 1, 3, 2]), Layout::Nchw, shape, 0), None);
        let vector = Shape::new(1, 1, 6);
        for written in [&[6][..], &[1, 6], &[1, 6, 1, 1]] {
            assert!(nhwc(&floats(written), Layout::Flat, vector, 0).is_some());
        }
        assert_eq!(nhwc(&floats(&[1, 6]), Layout::Flat, shape, 0), None);
        let bytes = Values { shape: vec![2], numbers: Numbers::Steps(vec![0, 255]) };
        assert_eq!(nhwc(&bytes, Layout::Flat, Shape::new(1, 1, 2), -128).unwrap(), [-128.0, 127.0]);
    }
}
