//! The network specification: what a YAML table says, checked and resolved.

mod resolve;

pub use resolve::{Resolved, ResolvedBlock, make_divisible};

/// A checked specification of one member of the MobileNetV2 family
/// (Sandler et al. 2018, arXiv:1801.04381, table 2).
///
/// Channel counts are the table's, before the width multiplier.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    /// Name of the generated type, a Rust identifier in CamelCase.
    pub name: String,
    /// Width multiplier applied to every channel count by [`make_divisible`].
    pub width: f64,
    /// Input height and width in pixels.
    pub resolution: [usize; 2],
    pub padding: PaddingConvention,
    pub activation: ActivationKind,
    pub batch_norm_epsilon: f64,
    /// Length of the output, counting a background class if there is one.
    pub classes: usize,
    pub stem: Stem,
    pub blocks: Vec<BlockRow>,
    pub head: Head,
    pub preprocessing: Preprocessing,
    pub precision: Precision,
    pub numerics: Numerics,
    pub fusion: Fusion,
    pub threads: usize,
}

/// The first convolution: 3x3.
#[derive(Debug, Clone, PartialEq)]
pub struct Stem {
    pub channels: usize,
    pub stride: usize,
    /// Line of the key in the spec, from 1.
    pub line: usize,
}

/// One row of the table: `repeat` inverted residual blocks, the first with `stride`, the others with 1.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRow {
    pub expansion: usize,
    pub channels: usize,
    pub repeat: usize,
    pub stride: usize,
    /// `Auto`: a residual where stride is 1 and the channel counts agree after rounding.
    pub residual: ResidualRule,
    /// Line of the row in the spec, from 1.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResidualRule {
    #[default]
    Auto,
    /// Every block of the row has one; a row where that is impossible is an error of the spec.
    Required,
    Never,
}

/// The last convolution: 1x1 to `channels` (scaled by the width multiplier only above width 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    pub channels: usize,
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingConvention {
    /// TensorFlow's SAME: as much as the output size asks for, the odd pixel below and on the right.
    Same,
    /// PyTorch's `padding = (kernel - 1) / 2` on all four sides.
    Symmetric,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationKind {
    Relu6,
    Relu,
}

/// `input = pixel * scale + offset` for each channel (red, green, blue), pixel in 0..=255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    pub scale: [f32; 3],
    pub offset: [f32; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    F32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numerics {
    /// One FMA chain per output in a documented order: the same bits on every FMA target.
    Strict,
}

/// How much is fused; see the passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fusion {
    /// Convolution, activation and residual add each over whole tensors.
    None,
    /// Activation and residual add in the epilogue of the convolution.
    Relu6,
    /// Streamed inverted residual blocks.
    Block,
}
