//! Tensors of a weights file.

use ::safetensors::Dtype;
use mbvc_compiler::ir::ElementType;

/// Elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// All tensors of a float32 network; scales of a quantized one.
    F32(Vec<f32>),
    /// Weights of an int8 network.
    I8(Vec<i8>),
    /// Weights of a uint8 network.
    U8(Vec<u8>),
    /// Biases and zero points of a quantized network.
    I32(Vec<i32>),
}

impl Data {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::I32(values) => values.len(),
        }
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements if they are floats.
    pub fn f32s(&self) -> Option<&[f32]> {
        match self {
            Self::F32(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the element type.
    pub fn element(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::I8(_) => ElementType::I8,
            Self::U8(_) => ElementType::U8,
            Self::I32(_) => ElementType::I32,
        }
    }

    /// Converts the elements, which is exact.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::I8(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::U8(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::I32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        }
    }

    /// Reverses the order of every `count` groups of `size` values.
    pub(crate) fn reverse_groups(&mut self, size: usize, count: usize) {
        fn reverse<T: Copy>(values: &mut [T], size: usize, count: usize) {
            for groups in values.chunks_exact_mut(size * count) {
                groups.reverse();
                groups.chunks_exact_mut(size).for_each(<[T]>::reverse);
            }
        }
        match self {
            Self::F32(values) => reverse(values, size, count),
            Self::I8(values) => reverse(values, size, count),
            Self::U8(values) => reverse(values, size, count),
            Self::I32(values) => reverse(values, size, count),
        }
    }

    pub(crate) fn read(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        let words = bytes.as_chunks::<4>().0;
        Some(match dtype {
            Dtype::F32 => Self::F32(words.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Dtype::I32 => Self::I32(words.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()),
            Dtype::I8 => Self::I8(bytes.iter().map(|byte| byte.cast_signed()).collect()),
            Dtype::U8 => Self::U8(bytes.to_vec()),
            _ => return None,
        })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::F32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::I32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::I8(values) => bytes.extend(values.iter().map(|value| value.cast_unsigned())),
            Self::U8(values) => bytes.extend_from_slice(values),
        }
    }

    pub(crate) fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::I8(_) => "I8",
            Self::U8(_) => "U8",
            Self::I32(_) => "I32",
        }
    }
}

/// A named tensor, row-major.
///
/// Shapes: convolution `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, classifier `[in, out]`, bias `[out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Unique name, such as `block2.expand.weight`.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// The elements; their number is the product of the shape.
    pub data: Data,
}
