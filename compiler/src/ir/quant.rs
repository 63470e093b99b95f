//! Element types and quantization parameters.
//!
//! A quantized number `q` represents `scale * (q - zero_point)`. Scales and zero points are parameters: the graph has their
//! names, the weights their values.

use super::ParamId;

/// The type of the elements of a value or a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementType {
    /// IEEE 754 single precision: all numbers of a float32 network, scales of a quantized one.
    F32,
    /// Weights and values of an int8 network.
    I8,
    /// Weights and values of a uint8 network.
    U8,
    /// Biases and zero points.
    I32,
}

impl ElementType {
    /// Name in dumps and messages: `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I32 => "i32",
        }
    }

    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F32 | Self::I32 => 4,
        }
    }

    /// Whether values of this type have a scale and a zero point.
    pub const fn is_quantized(self) -> bool {
        matches!(self, Self::I8 | Self::U8)
    }
}

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
