//! A network of the family, its weights still in the file.

use mbvc_compiler::spec::{Activation, Padding};
use mbvc_runtime::HeadActivation;

use super::layer::Layer;
use crate::source::{Node, Value};

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
    pub activation: Activation,
    /// Whether quantized ranges imply the activation of some layers.
    pub activation_implied: bool,
    /// `None` if the geometry allows both conventions.
    pub padding: Option<Padding>,
    /// The layer that determined the convention.
    pub padding_seen_at: Option<String>,
    /// `[height, width]` of the image, if fixed in the file.
    pub resolution: Option<[usize; 2]>,
    /// Arithmetic on the input before the stem.
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
    /// Whether the input is 0..255 rather than 0..1. Factors are about 2 to 5 for 0..1, and about 0.01 for 0..255.
    pub fn takes_bytes(&self) -> bool {
        self.scale.iter().all(|scale| scale.abs() < 0.1)
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
