//! A borrowed tensor of a weights file.

use super::limits::MAX_RANK;
use crate::formats::json::JsonStr;

/// A tensor's name, type, shape and bytes. The bytes are unaligned, so elements are read one by one and never cast.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Name, unique in the file.
    pub name: JsonStr<'a>,
    /// Element type.
    pub dtype: Dtype,
    /// Shape, outermost dimension first.
    pub shape: Shape,
    /// Elements in little endian, the last dimension contiguous. The length matches shape and type.
    pub data: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// Returns the elements, if they are of type F32.
    pub fn f32s(&self) -> Option<F32s<'a>> {
        (self.dtype == Dtype::F32).then_some(F32s { data: self.data })
    }
}

/// Little-endian f32 elements at any alignment.
#[derive(Debug, Clone, Copy)]
pub struct F32s<'a> {
    data: &'a [u8],
}

impl<'a> F32s<'a> {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / 4
    }

    /// Whether no element is infinite or a NaN.
    pub fn is_finite(&self) -> bool {
        /// Bits of the exponent, all set in infinities and NaN.
        const EXPONENT: u32 = 0x7f80_0000;
        let (values, _) = self.data.as_chunks::<4>();
        values.iter().all(|bytes| u32::from_le_bytes(*bytes) & EXPONENT != EXPONENT)
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the element at `index`, in the order of [`iter`](Self::iter), or `None` past the end.
    pub fn get(&self, index: usize) -> Option<f32> {
        let start = index.checked_mul(4)?;
        self.data.get(start..)?.first_chunk().map(|bytes| f32::from_le_bytes(*bytes))
    }

    /// Returns all elements in order, the last dimension fastest.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f32> + DoubleEndedIterator + Clone + 'a {
        self.data.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Returns elements `start..start + len`, or `None` if the range exceeds the tensor.
    pub fn slice(&self, start: usize, len: usize) -> Option<F32s<'a>> {
        let (start, len) = (start.checked_mul(4)?, len.checked_mul(4)?);
        Some(F32s { data: self.data.get(start..)?.get(..len)? })
    }
}

/// Sizes of the dimensions, outermost first.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// Returns the sizes. A scalar has none.
    pub fn dims(&self) -> &[usize] {
        self.dims.get(..self.rank).unwrap_or_default()
    }

    /// Returns the number of elements, or `None` on overflow.
    pub(super) fn elements(&self) -> Option<usize> {
        self.dims().iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))
    }

    /// Adds a dimension. Returns `false` if the shape is full.
    pub(super) fn push(&mut self, dim: usize) -> bool {
        match self.dims.get_mut(self.rank) {
            Some(slot) => {
                *slot = dim;
                self.rank += 1;
                true
            }
            None => false,
        }
    }
}

impl core::fmt::Debug for Shape {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.dims().fmt(f)
    }
}

/// Element types of safetensors that consist of whole bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the format's own names")]
#[rustfmt::skip]
pub enum Dtype { Bool, U8, I8, F8E5M2, F8E4M3, U16, I16, F16, Bf16, U32, I32, F32, U64, I64, F64 }

impl Dtype {
    const NAMES: [(&'static str, Dtype, usize); 15] = [
        ("F32", Dtype::F32, 4),
        ("I8", Dtype::I8, 1),
        ("U8", Dtype::U8, 1),
        ("I32", Dtype::I32, 4),
        ("BOOL", Dtype::Bool, 1),
        ("F8_E5M2", Dtype::F8E5M2, 1),
        ("F8_E4M3", Dtype::F8E4M3, 1),
        ("U16", Dtype::U16, 2),
        ("I16", Dtype::I16, 2),
        ("F16", Dtype::F16, 2),
        ("BF16", Dtype::Bf16, 2),
        ("U32", Dtype::U32, 4),
        ("U64", Dtype::U64, 8),
        ("I64", Dtype::I64, 8),
        ("F64", Dtype::F64, 8),
    ];

    pub(super) fn parse(name: JsonStr<'_>) -> Option<Self> {
        Self::NAMES.iter().find(|(text, ..)| name == *text).map(|&(_, dtype, _)| dtype)
    }

    /// Returns the type with this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(text, ..)| name == *text).map(|&(_, dtype, _)| dtype)
    }

    fn entry(self) -> (&'static str, usize) {
        Self::NAMES.iter().find(|(_, dtype, _)| *dtype == self).map_or(("", 0), |&(text, _, bytes)| (text, bytes))
    }

    /// Returns the name in the file.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Returns the bytes per element.
    pub fn bytes(self) -> usize {
        self.entry().1
    }
}
