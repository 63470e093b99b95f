//! Which axis of an activation contains the channels, and what reshapes make of it.

use super::tensor::{axis_of, display};
use crate::error::{ImportError, Result};
use crate::source::{Layout, MAX_RANK};
use crate::text::display_shape;

/// The axes of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// `[image, channel, row, column]`, with this number of channels.
    Nchw(usize),
    /// `[image, row, column, channel]`.
    Nhwc(usize),
    /// A vector per image.
    Vector(Vector),
    /// The result of a reshape to a shape that is not constant, or of an operation of which only the inputs are known.
    Unknown,
}

/// A vector per image: the first axis counts images, one axis the features, and all others have size 1. With one image,
/// the axis of the images may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// Number of axes, if known.
    rank: Option<usize>,
    /// Number of axes after that of the features.
    after: usize,
    features: usize,
}

impl Axes {
    /// `[image, features]`.
    pub const fn matrix(features: usize) -> Self {
        Self::Vector(Vector { rank: Some(2), after: 0, features })
    }

    /// Returns the order of axes for comparison with another engine.
    pub fn layout(self) -> Layout {
        match self {
            Self::Nchw(_) => Layout::Nchw,
            Self::Nhwc(_) => Layout::Nhwc,
            Self::Vector(_) | Self::Unknown => Layout::Flat,
        }
    }

    /// Returns the number of channels, if known.
    pub fn channels(self) -> Option<usize> {
        match self {
            Self::Nchw(channels) | Self::Nhwc(channels) => Some(channels),
            Self::Vector(vector) => Some(vector.features),
            Self::Unknown => None,
        }
    }

    /// Returns the axes of the result of a layer with this number of output channels.
    pub fn with_channels(self, channels: usize) -> Self {
        match self {
            Self::Nchw(_) => Self::Nchw(channels),
            Self::Nhwc(_) => Self::Nhwc(channels),
            Self::Vector(vector) => Self::Vector(Vector { features: channels, ..vector }),
            Self::Unknown => Self::Unknown,
        }
    }

    /// Whether the channels are axis 1, as convolutions, normalizations and pools expect.
    pub fn are_channels_first(self) -> bool {
        match self {
            Self::Nchw(_) => true,
            Self::Vector(vector) => vector.axis() == Some(1),
            Self::Nhwc(_) | Self::Unknown => false,
        }
    }

    /// Whether the channels are the last axis, over which matrix products sum.
    pub fn are_channels_last(self) -> bool {
        // A product with a matrix that matches the features shows it.
        self == Self::Unknown || self.after() == Some(0)
    }

    /// Checks that values with these axes are added element by element. What an unknown operation computes is checked later.
    pub fn check_sum(self, other: Self) -> Result<()> {
        if self == other || self == Self::Unknown || other == Self::Unknown {
            return Ok(());
        }
        Err(ImportError::unsupported("the sum of values with different axes")
            .expected("two values of the same shape")
            .found(format!("{self:?} and {other:?}")))
    }

    /// Returns the number of axes, if known.
    fn rank(self) -> Option<usize> {
        match self {
            Self::Nchw(_) | Self::Nhwc(_) => Some(4),
            Self::Vector(vector) => vector.rank,
            Self::Unknown => None,
        }
    }

    /// Returns the number of axes after the channels.
    fn after(self) -> Option<usize> {
        match self {
            Self::Nchw(_) => Some(2),
            Self::Nhwc(_) => Some(0),
            Self::Vector(vector) => Some(vector.after),
            Self::Unknown => None,
        }
    }

    /// Returns the axes of rows and columns of an image.
    pub fn spatial(self) -> [usize; 2] {
        if matches!(self, Self::Nhwc(_)) { [1, 2] } else { [2, 3] }
    }

    /// Returns the axes of the mean over height and width.
    pub fn pooled(self, keeps_rank: bool) -> Self {
        match (self, keeps_rank) {
            (Self::Nchw(features), true) => Self::Vector(Vector { rank: Some(4), after: 2, features }),
            (Self::Nhwc(features), true) => Self::Vector(Vector { rank: Some(4), after: 0, features }),
            (Self::Nchw(features) | Self::Nhwc(features), false) => Self::matrix(features),
            (Self::Vector(_) | Self::Unknown, _) => self,
        }
    }

    /// Returns the axes of the product with a matrix of `features` columns. A Gemm has two axes.
    pub fn multiplied(self, features: usize, is_gemm: bool) -> Self {
        match self {
            _ if is_gemm => Self::matrix(features),
            Self::Unknown => Self::Vector(Vector { rank: None, after: 0, features }),
            _ => self.with_channels(features),
        }
    }

    /// Whether a constant of this shape has one value, or one for each channel.
    pub fn fits(self, shape: &[usize]) -> bool {
        // Shapes are aligned at the last axis. A further axis would change the rank of the result.
        let is_single = shape.iter().all(|&size| size == 1);
        let fits_rank = match self.rank() {
            Some(rank) => shape.len() <= rank,
            None => shape.len() <= 1 || self != Self::Unknown,
        };
        let per_channel = self.after().zip(self.channels()).is_some_and(|(after, channels)| {
            shape.iter().rev().enumerate().all(|(at, &size)| size == if at == after { channels } else { 1 })
        });
        fits_rank && (is_single || per_channel)
    }

    /// Checks that a softmax over `axis` is over the channels. If `joined`, as before opset 13, all axes from `axis` on are
    /// normalized together.
    pub fn check_softmax(self, axis: i64, joined: bool) -> Result<()> {
        let Some(after) = self.after() else {
            return Err(ImportError::unsupported("the softmax reads a reshape to an unknown shape")
                .help("fold constants first, for instance with onnxsim"));
        };
        let from_end = i64::try_from(after).map_or(i64::MIN, |after| -1 - after);
        let channels = self.rank().and_then(|rank| rank.checked_sub(after + 1));
        let over = self.rank().and_then(|rank| axis_of(axis, rank));
        let is_over_channels = match (over.zip(channels), self) {
            // The axes between have size 1.
            (Some((over, channels)), Self::Vector(_)) if joined => over <= channels && (over > 0 || channels == 0),
            (Some((over, channels)), _) => over == channels,
            (None, _) => !joined && axis == from_end,
        };
        if !is_over_channels {
            return Err(ImportError::unsupported("the softmax is not over the classes")
                .expected(format!("axis {}", channels.map_or(from_end.to_string(), |channels| channels.to_string())))
                .found(format!("axis {axis}")));
        }
        Ok(())
    }

    /// Returns the sizes of the axes; those of rows and columns are unknown.
    pub fn sizes(self, images: usize) -> Option<Vec<Option<usize>>> {
        match self {
            Self::Nchw(channels) => Some(vec![Some(images), Some(channels), None, None]),
            Self::Nhwc(channels) => Some(vec![Some(images), None, None, Some(channels)]),
            Self::Vector(vector) => Some(vector.sizes(images)?.into_iter().map(Some).collect()),
            Self::Unknown => None,
        }
    }

    /// Returns the axes after a permutation; `None` if the result is not supported.
    pub fn permuted(self, order: &[i64]) -> Option<Self> {
        match (self, order) {
            (Self::Nhwc(channels), [0, 3, 1, 2]) => Some(Self::Nchw(channels)),
            (Self::Nchw(channels), [0, 2, 3, 1]) => Some(Self::Nhwc(channels)),
            (Self::Vector(vector), _) => {
                let mut sorted = order.to_vec();
                sorted.sort_unstable();
                let is_permutation = sorted.iter().enumerate().all(|(at, &axis)| usize::try_from(axis) == Ok(at));
                if vector.rank != Some(order.len()) || !is_permutation {
                    return None;
                }
                let at = order.iter().position(|&axis| usize::try_from(axis).ok() == vector.axis())?;
                // Images stay first, or are single.
                let images_first = order.first() == Some(&0) || vector.axis() == Some(0);
                images_first.then(|| Self::Vector(Vector { after: order.len() - 1 - at, ..vector }))
            }
            _ => None,
        }
    }
}

impl Vector {
    /// Returns the axis of the features, if known.
    fn axis(self) -> Option<usize> {
        self.rank?.checked_sub(self.after + 1)
    }
}

/// A change of the shape that keeps the order of elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reshape {
    /// The target shape. 0 keeps a size, unless `zero` is allowed; -1 is inferred.
    To { target: Vec<i64>, allows_zero: bool },
    /// Two axes: those before `axis`, and the others.
    Flatten { axis: i64 },
    /// Removes these axes, or all of size 1.
    Squeeze { axes: Option<Vec<i64>> },
    /// Inserts axes of size 1; their numbers are those in the result.
    Unsqueeze { axes: Vec<i64> },
}

impl Axes {
    /// Returns the axes after a reshape, for this number of images. Those of a reshaped image are unknown.
    ///
    /// # Errors
    /// If the reshape is not possible, or distributes the features over several axes.
    pub fn reshaped(self, reshape: &Reshape, images: usize) -> Result<Self> {
        let Self::Vector(vector) = self else { return Ok(Self::Unknown) };
        let Some(before) = vector.sizes(images) else { return Ok(Self::Unknown) };
        let bad = |problem: &str| {
            ImportError::unsupported(problem).expected("one axis with all features").found(match reshape {
                Reshape::To { target, .. } => format!("{} to {}", display_shape(&before), display(target)),
                _ => format!("{reshape:?} of {}", display_shape(&before)),
            })
        };
        let after = reshape.sizes(&before).ok_or_else(|| bad("the reshape does not fit its input"))?;
        match Vector::of(&after, vector.features, images) {
            Some(vector) => Ok(Self::Vector(vector)),
            None => Err(bad("the reshape distributes the features over several axes")),
        }
    }
}

impl Vector {
    /// Returns the size of each axis, if their number is known.
    fn sizes(self, images: usize) -> Option<Vec<usize>> {
        let mut sizes = vec![1; self.rank?];
        *sizes.first_mut()? = images;
        *sizes.get_mut(self.axis()?)? = self.features;
        Some(sizes)
    }

    /// Returns the vector of these sizes.
    fn of(sizes: &[usize], features: usize, images: usize) -> Option<Self> {
        let rank = Some(sizes.len()).filter(|rank| *rank <= MAX_RANK)?;
        let at = match sizes.iter().skip(1).position(|&size| size == features) {
            Some(at) if features > 1 => at + 1,
            // All axes have size 1.
            Some(_) => 1,
            None => 0,
        };
        let vector = Self { rank: Some(rank), after: rank.checked_sub(at + 1)?, features };
        (vector.sizes(images)? == sizes && (at > 0 || images == 1)).then_some(vector)
    }
}

impl Reshape {
    /// Returns the sizes after a reshape of a tensor with these sizes.
    fn sizes(&self, before: &[usize]) -> Option<Vec<usize>> {
        let count = before.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
        match self {
            Self::To { target, allows_zero } => {
                let kept = |(at, &size): (usize, &i64)| match size {
                    0 if !allows_zero => before.get(at).copied(),
                    -1 => Some(1),
                    size => usize::try_from(size).ok(),
                };
                let mut sizes: Vec<usize> = target.iter().enumerate().map(kept).collect::<Option<_>>()?;
                let others = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
                if let Some(at) = target.iter().position(|&size| size == -1) {
                    *sizes.get_mut(at)? = count.checked_div(others)?;
                }
                let found = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
                (found == count).then_some(sizes)
            }
            Self::Flatten { axis } => {
                // The rank itself is an axis, too.
                let at = axis_of(*axis, before.len()).or_else(|| usize::try_from(*axis).ok())?;
                let (first, second) = before.split_at_checked(at)?;
                let product =
                    |sizes: &[usize]| sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
                Some(vec![product(first)?, product(second)?])
            }
            Self::Squeeze { axes: None } => Some(before.iter().copied().filter(|&size| size != 1).collect()),
            Self::Squeeze { axes: Some(axes) } => {
                let axes: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, before.len())).collect::<Option<_>>()?;
                let is_single = axes.iter().all(|&axis| before.get(axis) == Some(&1));
                let kept = before.iter().enumerate().filter(|(at, _)| !axes.contains(at));
                is_single.then(|| kept.map(|(_, &size)| size).collect())
            }
            Self::Unsqueeze { axes } => {
                let rank = before.len().checked_add(axes.len())?;
                let axes: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<_>>()?;
                let mut left = before.iter();
                let sizes = (0..rank).map(|at| if axes.contains(&at) { Some(1) } else { left.next().copied() });
                let sizes = sizes.collect::<Option<Vec<_>>>()?;
                left.next().is_none().then_some(sizes)
            }
        }
    }
}

/// A mean over height or width. A mean of the result over the other axis completes the mean over the image.
#[derive(Debug, Clone, Copy)]
pub struct AxisMean {
    /// The axes of the image.
    axes: Axes,
    axis: usize,
    keeps_rank: bool,
}

impl AxisMean {
    /// Returns the mean over one spatial axis of an image with these axes.
    pub fn of(axes: Axes, over: &[i64], keeps_rank: bool) -> Option<Self> {
        let &[axis] = over else { return None };
        let axis = axis_of(axis, 4).filter(|axis| axes.spatial().contains(axis))?;
        matches!(axes, Axes::Nchw(_) | Axes::Nhwc(_)).then_some(Self { axes, axis, keeps_rank })
    }

    /// Whether a mean of the result is over the other axis, and changes the rank in the same way.
    pub fn is_completed_by(self, over: &[i64], keeps_rank: bool) -> bool {
        let [rows, columns] = self.axes.spatial();
        let (rank, other) = match (self.keeps_rank, self.axis == rows) {
            (true, true) => (4, columns),
            (true, false) => (4, rows),
            // Without the first axis, the other one has the index of the rows.
            (false, _) => (3, rows),
        };
        matches!(*over, [axis] if axis_of(axis, rank) == Some(other)) && keeps_rank == self.keeps_rank
    }

    /// Returns the axes of the mean over both.
    pub fn pooled(self) -> Axes {
        self.axes.pooled(self.keeps_rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOLED: Axes = Axes::Vector(Vector { rank: Some(4), after: 2, features: 10 });

    fn to(target: &[i64]) -> Reshape {
        Reshape::To { target: target.to_vec(), allows_zero: false }
    }

    fn vector(rank: usize, after: usize) -> Axes {
        Axes::Vector(Vector { rank: Some(rank), after, features: 10 })
    }

    #[test]
    fn a_reshape_keeps_the_features_in_one_axis() {
        for (reshape, expected) in [
            (to(&[0, -1]), vector(2, 0)),
            (to(&[-1, 10]), vector(2, 0)),
            (to(&[10, -1]), vector(2, 1)),
            (to(&[-1]), vector(1, 0)),
            (to(&[1, 1, 1, 10]), vector(4, 0)),
            (Reshape::Flatten { axis: 1 }, vector(2, 0)),
            (Reshape::Flatten { axis: -3 }, vector(2, 0)),
            (Reshape::Flatten { axis: 2 }, vector(2, 1)),
            (Reshape::Flatten { axis: 4 }, vector(2, 1)),
            (Reshape::Squeeze { axes: None }, vector(1, 0)),
            (Reshape::Squeeze { axes: Some(vec![-1, 2]) }, vector(2, 0)),
            (Reshape::Unsqueeze { axes: vec![4, 0] }, vector(6, 3)),
        ] {
            assert_eq!(POOLED.reshaped(&reshape, 1).unwrap(), expected, "{reshape:?}");
        }
        for reshape in [
            to(&[2, 5]),
            to(&[1, 2, 5]),
            to(&[0, 0, -1, 10]),
            to(&[7]),
            to(&[0, 0, 0, 0, 0]),
            Reshape::Squeeze { axes: Some(vec![1]) },
            Reshape::Flatten { axis: 5 },
            Reshape::Unsqueeze { axes: vec![9] },
            Reshape::Unsqueeze { axes: vec![0, 0] },
            Reshape::Unsqueeze { axes: vec![0, 1, 2, 3, 4] },
        ] {
            // Of two equal sizes one is the features, so that this is no vector.
            assert!(POOLED.reshaped(&reshape, 1).is_err(), "{reshape:?}");
        }
        // With several images, they stay the first axis.
        assert_eq!(POOLED.reshaped(&to(&[4, -1]), 4).unwrap(), vector(2, 0));
        for target in [&[-1][..], &[10, 4], &[40, 1]] {
            assert!(POOLED.reshaped(&to(target), 4).is_err(), "{target:?}");
        }
        assert_eq!(Axes::Nchw(10).reshaped(&to(&[0, -1]), 1).unwrap(), Axes::Unknown);
    }

    #[test]
    fn a_softmax_is_over_the_features() {
        let check = |axes: Axes, axis, joined| axes.check_softmax(axis, joined).is_ok();
        for (axes, separate, joined) in [
            (vector(2, 0), &[1, -1][..], &[1, -1][..]),
            (vector(4, 2), &[1, -3], &[1, -3]),
            // Axes 1 to 3 together contain the features only.
            (vector(4, 0), &[3, -1], &[1, 2, 3, -1, -2, -3]),
            (vector(1, 0), &[0, -1], &[0, -1]),
            (vector(2, 1), &[0, -2], &[0, -2]),
            (Axes::matrix(10).multiplied(10, false), &[1, -1], &[1, -1]),
            (Axes::Unknown.multiplied(10, false), &[-1], &[]),
            (Axes::Unknown, &[], &[]),
        ] {
            for axis in -6..6 {
                assert_eq!(check(axes, axis, false), separate.contains(&axis), "{axes:?} {axis}");
                assert_eq!(check(axes, axis, true), joined.contains(&axis), "{axes:?} {axis} joined");
            }
        }
    }

    #[test]
    fn constants_are_aligned_at_the_last_axis() {
        for (axes, fitting, other) in [
            (
                Axes::Nchw(3),
                &[&[][..], &[1], &[3, 1, 1], &[1, 3, 1, 1]][..],
                &[&[3][..], &[1, 3], &[1, 1, 1, 1, 1]][..],
            ),
            (Axes::Nhwc(3), &[&[3], &[1, 1, 1, 3]], &[&[3, 1, 1], &[2]]),
            (Axes::matrix(3), &[&[3], &[1, 3], &[1, 1]], &[&[3, 1, 1], &[3, 1], &[1, 1, 3]]),
            (Axes::Unknown, &[&[], &[1]], &[&[3], &[1, 1]]),
        ] {
            assert!(fitting.iter().all(|shape| axes.fits(shape)), "{axes:?}");
            assert!(!other.iter().any(|shape| axes.fits(shape)), "{axes:?}");
        }
    }

    #[test]
    fn permutations_move_the_features() {
        assert_eq!(Axes::Nhwc(3).permuted(&[0, 3, 1, 2]), Some(Axes::Nchw(3)));
        assert_eq!(Axes::Nchw(3).permuted(&[0, 2, 3, 1]), Some(Axes::Nhwc(3)));
        assert_eq!(Axes::Nchw(3).permuted(&[0, 3, 2, 1]), None);
        assert_eq!(vector(4, 2).permuted(&[0, 2, 3, 1]), Some(vector(4, 0)));
        assert_eq!(vector(2, 0).permuted(&[1, 0]), None);
        assert_eq!(vector(4, 2).permuted(&[0, 2, 3]), None);
        assert_eq!(vector(4, 2).permuted(&[0, 2, 2, 1]), None);
    }
}
