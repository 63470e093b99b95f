//! A network of the family, its weights still in the file.

use mbvc_compiler::spec::{Activation, Padding};

use super::layer::Layer;
use crate::source::Value;

/// A network of the family, its weights still in the file.
#[derive(Debug)]
pub struct Chain<'g> {
    pub stem: Layer<'g>,
    pub blocks: Vec<Block<'g>>,
    pub head: Layer<'g>,
    pub pool: Pool,
    pub classifier: Layer<'g>,
    pub activation: Activation,
    /// Whether some layers have no activation but the range of their quantized values.
    pub activation_absorbed: bool,
    /// `None` where the geometry allows both conventions.
    pub padding: Option<Padding>,
    /// The layer whose geometry decided.
    pub padding_seen_at: Option<String>,
    /// `[height, width]` of the image, where the file fixes them.
    pub resolution: Option<[usize; 2]>,
    /// What the graph itself does to its input before the stem.
    pub front: Option<Front>,
}

/// Arithmetic on the input: `x * scale + offset` per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Front {
    pub scale: [f64; 3],
    pub offset: [f64; 3],
    pub output: Value,
}

impl Front {
    /// Whether it takes pixels of 0..255 rather than 0..1: a graph that takes 0..1 multiplies by around 2 to 5, one that
    /// takes 0..255 by around 0.01.
    pub fn takes_bytes(&self) -> bool {
        self.scale.iter().all(|scale| scale.abs() < 0.1)
    }
}

/// The global average.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// A pool of a window that covers the image, rather than a mean.
    pub windowed: bool,
    pub output: Value,
}

/// One inverted residual block.
#[derive(Debug)]
pub struct Block<'g> {
    /// Absent where the expansion is 1.
    pub expand: Option<Layer<'g>>,
    pub depthwise: Layer<'g>,
    pub project: Layer<'g>,
    pub residual: bool,
    /// What the block makes: the sum where it has a residual, else its projection's.
    pub output: Value,
    pub in_channels: usize,
}

impl Chain<'_> {
    /// All convolutions in order of execution, the classifier last.
    pub fn layers(&self) -> impl Iterator<Item = &Layer<'_>> {
        let blocks = self.blocks.iter();
        let of_blocks = blocks.flat_map(|block| block.expand.iter().chain([&block.depthwise, &block.project]));
        [&self.stem].into_iter().chain(of_blocks).chain([&self.head, &self.classifier])
    }
}
