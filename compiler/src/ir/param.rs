//! Symbolic parameters: names and shapes, without values.

use super::ElementType;

/// Identifies a parameter: its index in [`Graph::params`](super::Graph::params).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// A parameter of operations: weight, bias, scale or statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Canonical name, such as `block2.expand.weight`.
    pub name: String,
    /// Convolution `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, dense `[in, out]`, vectors `[channels]`.
    pub shape: Vec<usize>,
    /// Element type.
    pub element: ElementType,
    /// Source of its values.
    pub source: ParamSource,
}

/// Source of the values of a parameter.
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
        /// Added to the variance.
        epsilon: f64,
    },
    /// `beta - mean * gamma / sqrt(variance + epsilon)`, in f64, rounded once.
    FoldedBias {
        /// Scale, `[channels]` like the others.
        gamma: ParamId,
        /// Offset.
        beta: ParamId,
        /// Mean of the training set.
        mean: ParamId,
        /// Variance of the training set.
        variance: ParamId,
        /// Added to the variance.
        epsilon: f64,
    },
}
