//! A network of the family, its weights still in the file.

use mbvc_compiler::spec::{Activation, Padding};
use mbvc_runtime::HeadActivation;

use super::layer::Layer;
use crate::source::{Node, Output, Value};

/// A network of the family, its weights still in the file.
#[derive(Debug)]
pub struct Chain<'g> {
    pub stem: Layer<'g>,
    pub blocks: Vec<Block<'g>>,
    pub head: Layer<'g>,
    pub pool: Pool,
    /// Dense layers between the pool and the classifier.
    pub dense: Vec<Layer<'g>>,
    /// Activation of `dense`.
    pub dense_activation: Activation,
    pub classifier: Layer<'g>,
    /// Head activation and its place; `None` if the file has none.
    pub head_activation: Option<(HeadActivation, String)>,
    /// Operations that select classes by score (argmax, top-k), which the network omits.
    pub rankings: Vec<&'g Node<'g>>,
    /// Outputs of the model before the scores, which the network omits.
    pub other_outputs: Vec<&'g Output<'g>>,
    pub activation: Activation,
    /// Whether quantized ranges imply the activation of some layers.
    pub activation_implied: bool,
    /// `None` if the geometry allows both conventions.
    pub padding: Option<Padding>,
    /// The layer that determined the convention.
    pub padding_seen_at: Option<String>,
    /// The first layer with stride 2 that has one pixel of padding on every side in numbers.
    pub explicit_padding: Option<String>,
    /// `[height, width]` of the image, if fixed in the file.
    pub resolution: Option<[usize; 2]>,
    /// Height and width must be multiples of this. Above 1 if the file pads images of any size by one pixel below and on
    /// the right, which is the convention `same` at even sizes only.
    pub size_multiple: usize,
    /// Arithmetic on the input before the stem.
    pub front: Option<Front>,
}

/// Operations on the input: `x * scale + offset` per channel of the input; the three are equal for a gray image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Front {
    pub scale: [f64; 3],
    pub offset: [f64; 3],
    /// Whether the stem reads the channels in reverse order.
    pub reversed: bool,
    pub output: Value,
}

impl Front {
    pub fn new(output: Value) -> Self {
        Self { scale: [1.0; 3], offset: [0.0; 3], reversed: false, output }
    }

    /// Whether it changes values, rather than their order only.
    pub fn is_arithmetic(&self) -> bool {
        (self.scale, self.offset) != ([1.0; 3], [0.0; 3])
    }

    /// Returns the value of a white pixel in the input, 1 or 255; `None` if the arithmetic is not a normalization.
    ///
    /// Normalized values are around 0, or from 0. Where both inputs result in such a range, factors are about 2 to 5 for pixels
    /// from 0 to 1, and about 0.01 for pixels from 0 to 255.
    pub fn white(&self) -> Option<f64> {
        /// A tolerance for rounded constants.
        const NEAR: f64 = 1e-3;
        /// Least mean, as a part of the range.
        const LEAST: f64 = 0.02;
        let fits = |white: f64| {
            let mut channels = self.scale.iter().zip(self.offset);
            channels.all(|(scale, black)| {
                let range = scale * white;
                // A mean close to black is another range's.
                let is_zero = black.abs() <= NEAR * range;
                *scale > 0.0 && (is_zero || black <= -LEAST * range) && range + black >= -NEAR * range
            })
        };
        match (fits(1.0), fits(255.0)) {
            (true, true) if self.scale.iter().all(|scale| *scale < 0.1) => Some(255.0),
            // A factor alone does not show the range.
            (true, true) if self.offset.iter().all(|offset| offset.abs() <= NEAR) => None,
            (true, true) => Some(1.0),
            (true, false) => Some(1.0),
            (false, true) => Some(255.0),
            (false, false) => None,
        }
    }

    /// Whether the input is 0..255 rather than 0..1.
    pub fn takes_bytes(&self) -> bool {
        self.white() == Some(255.0)
    }
}

/// The global average pool.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Whether it is a pool with a window of the image's size, rather than a mean.
    pub windowed: bool,
    pub output: Value,
}

/// One inverted residual block.
#[derive(Debug)]
pub struct Block<'g> {
    /// Absent for expansion 1.
    pub expand: Option<Layer<'g>>,
    pub depthwise: Layer<'g>,
    pub project: Layer<'g>,
    pub residual: bool,
    /// Output of the block: the sum with the residual, or the projection.
    pub output: Value,
    pub in_channels: usize,
}

impl Chain<'_> {
    /// Iterates over all layers with weights in order of execution.
    pub fn layers(&self) -> impl Iterator<Item = &Layer<'_>> {
        let blocks = self.blocks.iter();
        let of_blocks = blocks.flat_map(|block| block.expand.iter().chain([&block.depthwise, &block.project]));
        [&self.stem].into_iter().chain(of_blocks).chain([&self.head]).chain(&self.dense).chain([&self.classifier])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_pixels_is_known_from_the_normalization() {
        for (scale, offset, white) in [
            ([1.0 / 255.0; 3], [0.0; 3], Some(255.0)),
            ([1.0 / 127.5; 3], [-1.0; 3], Some(255.0)),
            ([1.0; 3], [-123.7, -116.8, -103.9], Some(255.0)),
            ([0.0171, 0.0175, 0.0174], [-2.118, -2.036, -1.804], Some(255.0)),
            ([2.0; 3], [-1.0; 3], Some(1.0)),
            ([1.0; 3], [-0.5; 3], Some(1.0)),
            ([1.0 / 0.229, 1.0 / 0.224, 1.0 / 0.225], [-2.118, -2.036, -1.804], Some(1.0)),
            ([1.0; 3], [-2.0; 3], None),
            ([2.0; 3], [0.0; 3], None),
            ([1.0; 3], [0.5; 3], None),
            ([-2.0; 3], [1.0; 3], None),
            ([2.0; 3], [-600.0; 3], None),
        ] {
            assert_eq!(Front { scale, offset, ..Front::new(0) }.white(), white, "{scale:?} {offset:?}");
        }
    }
}
