//! Element types and quantization parameters.
//!
//! A quantized number `q` represents `scale * (q - zero_point)`. Scales and zero points are parameters: the graph has their
//! names, the weights their values.

use super::ParamId;

/// One scale (float32) and one zero point (int32) for all elements of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quant {
    /// One number.
    pub scale: ParamId,
    /// One number, which represents 0.
    pub zero_point: ParamId,
}

/// Requantization of the 32-bit sums of a layer, before its activation: `round(sum * input scale * weight scale / scale) +
/// zero point`, saturated. The spec's `rounding` defines the rounding.
///
/// The bias has the scale `input scale * weight scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requantize {
    /// Float32: one per output channel, or one in all if the weights have a zero point.
    pub weight_scale: ParamId,
    /// Int32; `None` for symmetric weights, whose zero point is 0.
    pub weight_zero_point: Option<ParamId>,
    /// Quantization before the residual add; the sum has its own.
    pub output: Quant,
}

impl Quant {
    /// Scale and zero point.
    pub fn params(self) -> [ParamId; 2] {
        [self.scale, self.zero_point]
    }
}

impl Requantize {
    /// All parameters, including those of the result.
    pub fn params(self) -> impl Iterator<Item = ParamId> {
        std::iter::once(self.weight_scale).chain(self.weight_zero_point).chain(self.output.params())
    }
}
