//! Types of elements.

/// The type of the elements of a value or a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementType {
    /// IEEE 754 single precision: all numbers of a float32 network, scales of a quantized one.
    F32,
    /// Values of a bf16 network that matrix products read.
    Bf16,
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
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I32 => "i32",
        }
    }

    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
        }
    }

    /// Whether values of this type have a scale and a zero point.
    pub const fn is_quantized(self) -> bool {
        matches!(self, Self::I8 | Self::U8)
    }
}
