//! Element types, and what the numbers of quantized values stand for.
//!
//! A quantized number `q` stands for `scale * (q - zero_point)`. Scales and zero points are parameters: the graph knows
//! their names, and their values come with the weights.

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
    /// As dumps and messages have it: `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I32 => "i32",
        }
    }

    /// Bytes that an element takes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F32 | Self::I32 => 4,
        }
    }

    /// Whether values of this type stand for others.
    pub const fn is_quantized(self) -> bool {
        matches!(self, Self::I8 | Self::U8)
    }
}

/// One scale (float32) and one zero point (int32) for all elements of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quant {
    /// Of one number.
    pub scale: ParamId,
    /// Of one number, which stands for 0.
    pub zero_point: ParamId,
}

/// What becomes of the 32-bit sums of a layer, before its activation: `round(sum * input scale * weight scale / scale) +
/// zero point`, saturated. How that is rounded is the spec's `rounding`.
///
/// The bias counts in steps of `input scale * weight scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requantize {
    /// Float32: one for each output channel, or a single one where the weights have a zero point.
    pub weight_scale: ParamId,
    /// Int32. Without one the weights are symmetric: their zero point is 0.
    pub weight_zero_point: Option<ParamId>,
    /// Of the layer's own result; where its epilogue adds a residual, the sum has another.
    pub output: Quant,
}

impl Quant {
    /// Scale and zero point.
    pub fn params(self) -> [ParamId; 2] {
        [self.scale, self.zero_point]
    }
}

impl Requantize {
    /// All that it reads, that of its result included.
    pub fn params(self) -> impl Iterator<Item = ParamId> {
        std::iter::once(self.weight_scale).chain(self.weight_zero_point).chain(self.output.params())
    }
}
