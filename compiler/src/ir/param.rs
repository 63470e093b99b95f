//! Symbolic parameters: the graph knows names and shapes, never values.

use super::ElementType;

/// Names a parameter of a graph: its place among [`Graph::params`](super::Graph::params).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// A parameter: what operations read beside values.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Canonical name, such as `block2.expand.weight`.
    pub name: String,
    /// Convolution `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, dense `[in, out]`, vectors `[channels]`.
    pub shape: Vec<usize>,
    /// The type of each of its numbers.
    pub element: ElementType,
    /// Where its numbers come from.
    pub source: ParamSource,
}

/// Where the values of a parameter come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamSource {
    /// Bound by name.
    Stored,
    /// `weight * gamma / sqrt(variance + epsilon)` per output channel (the last axis), in f64, rounded once.
    FoldedWeight {
        /// `[kh, kw, in, out]` or `[kh, kw, channels]`.
        weight: ParamId,
        /// `[channels]`.
        gamma: ParamId,
        /// `[channels]`.
        variance: ParamId,
        /// Keeps the root from 0.
        epsilon: f64,
    },
    /// `beta - mean * gamma / sqrt(variance + epsilon)`, in f64, rounded once.
    FoldedBias {
        /// `[channels]`, as are the others.
        gamma: ParamId,
        /// What the normalization adds last.
        beta: ParamId,
        /// Of the training set.
        mean: ParamId,
        /// Of the training set.
        variance: ParamId,
        /// Keeps the root from 0.
        epsilon: f64,
    },
}
