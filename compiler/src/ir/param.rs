//! Symbolic parameters: the graph knows names and shapes, never values.

use super::ElementType;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Canonical name, such as `block2.expand.weight`.
    pub name: String,
    /// Convolution `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, dense `[in, out]`, vectors `[channels]`.
    pub shape: Vec<usize>,
    pub element: ElementType,
    pub source: ParamSource,
}

/// Where the values of a parameter come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamSource {
    /// Bound by name.
    Stored,
    /// `weight * gamma / sqrt(variance + epsilon)` per output channel (the last axis), in f64, rounded once.
    FoldedWeight { weight: ParamId, gamma: ParamId, variance: ParamId, epsilon: f64 },
    /// `beta - mean * gamma / sqrt(variance + epsilon)`, in f64, rounded once.
    FoldedBias { gamma: ParamId, beta: ParamId, mean: ParamId, variance: ParamId, epsilon: f64 },
}
