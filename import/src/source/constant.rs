//! Constant tensors of any stored type, read as f64 without copying.

use std::borrow::Cow;

use crate::error::{ImportError, Result};
use crate::text::{display_shape, elements};

/// Greatest rank of a tensor; weights have rank 4.
pub const MAX_RANK: usize = 8;

/// Element types, stored little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    F32,
    F64,
    F16,
    Bf16,
    I8,
    U8,
    I16,
    U16,
    I32,
    I64,
}

impl DType {
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }
}

/// Elements as stored in the file.
#[derive(Debug, Clone)]
pub enum Values<'a> {
    /// Little-endian elements of the type.
    Bytes(DType, Cow<'a, [u8]>),
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
    I64(Cow<'a, [i64]>),
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(dtype, bytes) => bytes.len() / dtype.size(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Exact except for 64-bit integers above 2^53.
    fn get(&self, at: usize) -> Option<f64> {
        match self {
            Self::Bytes(dtype, bytes) => {
                let size = dtype.size();
                let start = at.checked_mul(size)?;
                decode(*dtype, bytes.get(start..start.checked_add(size)?)?)
            }
            Self::F32(values) => values.get(at).map(|&value| f64::from(value)),
            Self::F64(values) => values.get(at).copied(),
            Self::I64(values) => values.get(at).map(|&value| value as f64),
        }
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> Option<f64> {
    Some(match dtype {
        DType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
        DType::F64 => f64::from_le_bytes(bytes.try_into().ok()?),
        DType::F16 => half(u16::from_le_bytes(bytes.try_into().ok()?)),
        DType::Bf16 => f64::from(f32::from_bits(u32::from(u16::from_le_bytes(bytes.try_into().ok()?)) << 16)),
        DType::I8 => f64::from(i8::from_le_bytes(bytes.try_into().ok()?)),
        DType::U8 => f64::from(u8::from_le_bytes(bytes.try_into().ok()?)),
        DType::I16 => f64::from(i16::from_le_bytes(bytes.try_into().ok()?)),
        DType::U16 => f64::from(u16::from_le_bytes(bytes.try_into().ok()?)),
        DType::I32 => f64::from(i32::from_le_bytes(bytes.try_into().ok()?)),
        DType::I64 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
    })
}

/// IEEE 754 binary16 to binary64, exact.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff);
    sign * match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    }
}

/// `real = (stored - zero) * scale`, for the whole tensor or per index of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// One, or one per index of `axis`.
    pub scales: Vec<f64>,
    /// One per scale.
    pub zeros: Vec<i64>,
    pub axis: usize,
}

/// A constant tensor, whose elements match its shape.
#[derive(Debug, Clone)]
pub struct Constant<'a> {
    shape: Vec<usize>,
    values: Values<'a>,
    quantization: Option<Quantization>,
}

impl<'a> Constant<'a> {
    /// # Errors
    /// If the number of `values` does not match `shape`.
    pub fn new(shape: Vec<usize>, values: Values<'a>) -> Result<Self> {
        if shape.len() > MAX_RANK {
            return Err(ImportError::malformed(format!("the tensor has {} dimensions", shape.len()))
                .expected(format!("at most {MAX_RANK} dimensions")));
        }
        let expected = elements(&shape)?;
        if let Values::Bytes(dtype, bytes) = &values
            && !bytes.len().is_multiple_of(dtype.size())
        {
            return Err(ImportError::malformed(format!(
                "{} bytes are not a multiple of the size of {dtype:?}",
                bytes.len()
            )));
        }
        if values.len() != expected {
            return Err(ImportError::malformed("the data does not match the shape")
                .expected(format!("{expected} elements for the shape {}", display_shape(&shape)))
                .found(format!("{} elements", values.len())));
        }
        Ok(Self { shape, values, quantization: None })
    }

    pub fn quantized(mut self, quantization: Quantization) -> Result<Self> {
        let Quantization { scales, zeros, axis } = &quantization;
        let along = self.shape.get(*axis).copied().unwrap_or(1);
        if zeros.len() != scales.len() || !(scales.len() == 1 || scales.len() == along) {
            return Err(ImportError::malformed("the quantization parameters do not match the tensor")
                .expected(format!("one scale and zero point, or {along} of each along axis {axis}"))
                .found(format!("{} scales and {} zero points", scales.len(), zeros.len())));
        }
        self.quantization = Some(quantization);
        Ok(self)
    }

    /// Removes leading dimensions of size 1, of which a vector has none.
    ///
    /// # Errors
    /// If the tensor is not a vector, or is quantized.
    pub fn into_vector(self) -> Result<Self> {
        let length = self.len();
        let is_vector = self.shape.iter().rev().skip(1).all(|&size| size == 1) && self.shape.last() == Some(&length);
        if !is_vector || self.quantization.is_some() {
            return Err(ImportError::unsupported("the tensor is not a vector").found(display_shape(&self.shape)));
        }
        Ok(Self { shape: vec![length], ..self })
    }

    /// Returns the element type of stored bytes.
    pub fn dtype(&self) -> Option<DType> {
        match self.values {
            Values::Bytes(dtype, _) => Some(dtype),
            _ => None,
        }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the values are real numbers: floats, or integers with a scale.
    pub fn is_real(&self) -> bool {
        self.quantization.is_some()
            || match &self.values {
                Values::Bytes(dtype, _) => dtype.is_float(),
                Values::F32(_) | Values::F64(_) => true,
                Values::I64(_) => false,
            }
    }

    /// Returns the values in the order of the tensor.
    pub fn to_f64(&self) -> Vec<f64> {
        self.permuted(&(0..self.shape.len()).collect::<Vec<_>>())
    }

    /// Returns a constant that broadcasts over the last axis, the channels: one number, or one per channel.
    ///
    /// # Errors
    /// If another axis has a size above 1.
    pub fn per_channel(&self) -> Result<Vec<f64>> {
        let leading = self.shape.iter().take_while(|&&size| size == 1).count();
        if self.shape.len() - leading > 1 {
            return Err(ImportError::unsupported("the constant operand is not one number per channel")
                .found(display_shape(&self.shape)));
        }
        Ok(self.to_f64())
    }

    /// Returns small integers, such as axes and paddings.
    pub fn to_i64(&self) -> Vec<i64> {
        (0..self.len()).filter_map(|at| self.values.get(at)).map(|value| value as i64).collect()
    }

    /// Returns the value of a tensor with one element.
    pub fn scalar(&self) -> Option<f64> {
        (self.len() == 1).then(|| self.to_f64().first().copied()).flatten()
    }

    /// Returns the values permuted so that axis `i` of the result is axis `order[i]` of the tensor.
    /// Omitted axes must have size 1.
    pub fn permuted(&self, order: &[usize]) -> Vec<f64> {
        self.gathered(order, |raw, channel| self.dequantized(raw, channel))
    }

    /// Transposes the tensor: axis `i` of the result is axis `order[i]`; `order` is a permutation. Bytes and integers are kept.
    pub fn transposed(&self, order: &[usize]) -> Result<Constant<'static>> {
        let shape = order.iter().filter_map(|&axis| self.shape.get(axis).copied()).collect();
        let values = match self.values {
            Values::Bytes(dtype @ (DType::I8 | DType::U8), _) => {
                Values::Bytes(dtype, Cow::Owned(self.gathered(order, |stored, _| stored as i16 as u8)))
            }
            _ if self.is_real() => return Constant::new(shape, Values::F64(self.permuted(order).into())),
            _ => Values::I64(self.gathered(order, |stored, _| stored as i64).into()),
        };
        let transposed = Constant::new(shape, values)?;
        let Some(quantization) = &self.quantization else { return Ok(transposed) };
        let axis = order.iter().position(|&axis| axis == quantization.axis).unwrap_or(0);
        transposed.quantized(Quantization { axis, ..quantization.clone() })
    }

    /// Returns the stored integers, permuted as in [`Constant::permuted`]; `None` for floats.
    pub fn stored(&self, order: &[usize]) -> Option<(DType, Vec<i64>)> {
        match self.values {
            Values::Bytes(dtype, _) if !dtype.is_float() => {
                let values = self.gathered(order, |raw, _| raw);
                Some((dtype, values.into_iter().map(|value| value as i64).collect()))
            }
            _ => None,
        }
    }

    /// Returns the quantization of the stored integers.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_ref()
    }

    /// Maps stored values and their channels with `read`, permuted as in [`Constant::permuted`].
    pub fn gathered<T>(&self, order: &[usize], read: impl Fn(f64, usize) -> T) -> Vec<T> {
        let count = self.len();
        let strides = self.strides();
        let axes: Vec<(usize, usize)> = order
            .iter()
            .map(|&axis| (self.shape.get(axis).copied().unwrap_or(1), strides.get(axis).copied().unwrap_or(0)))
            .collect();
        let per_channel = self.quantization.as_ref().filter(|quantization| quantization.scales.len() > 1);
        let channel_axis = per_channel.and_then(|q| order.iter().position(|&axis| axis == q.axis));
        let mut index = vec![0usize; order.len()];
        let mut offset = 0;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let raw = self.values.get(offset).unwrap_or(f64::NAN);
            let channel = channel_axis.and_then(|axis| index.get(axis)).copied().unwrap_or(0);
            values.push(read(raw, channel));
            // Like an odometer: the last axis varies fastest.
            for (position, &(size, stride)) in index.iter_mut().zip(&axes).rev() {
                *position += 1;
                offset += stride;
                if *position < size {
                    break;
                }
                offset -= stride * size;
                *position = 0;
            }
        }
        values
    }

    fn dequantized(&self, raw: f64, channel: usize) -> f64 {
        let Some(quantization) = &self.quantization else { return raw };
        let pair = quantization.scales.get(channel).zip(quantization.zeros.get(channel));
        pair.map_or(f64::NAN, |(scale, zero)| (raw - *zero as f64) * scale)
    }

    /// Returns the row-major strides, in elements.
    fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1usize; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(self.shape[axis]);
        }
        strides
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(shape: &[usize]) -> Constant<'static> {
        let values = (0..shape.iter().product::<usize>()).map(|at| at as f32).collect();
        Constant::new(shape.to_vec(), Values::F32(Cow::Owned(values))).unwrap()
    }

    #[test]
    fn permutes_axes() {
        // OIHW -> HWIO of a 2x3 kernel of 2 outputs and 1 input.
        let values = counting(&[2, 1, 2, 3]).permuted(&[2, 3, 1, 0]);
        assert_eq!(values, [0., 6., 1., 7., 2., 8., 3., 9., 4., 10., 5., 11.]);
    }

    #[test]
    fn dequantizes_per_channel_in_any_order() {
        let tensor = Constant::new(vec![2, 2], Values::Bytes(DType::I8, Cow::Owned(vec![1, 2, 3, 0xff])))
            .unwrap()
            .quantized(Quantization { scales: vec![0.5, 2.0], zeros: vec![1, 0], axis: 0 })
            .unwrap();
        assert_eq!(tensor.to_f64(), [0.0, 0.5, 6.0, -2.0]);
        assert_eq!(tensor.permuted(&[1, 0]), [0.0, 6.0, 0.5, -2.0]);
    }

    #[test]
    fn transposing_keeps_quantized_bytes() {
        let bytes = Values::Bytes(DType::I8, Cow::Owned(vec![1, 2, 3, 0xff, 5, 6]));
        let quantization = Quantization { scales: vec![0.5, 2.0], zeros: vec![1, 0], axis: 0 };
        let tensor = Constant::new(vec![2, 3], bytes).unwrap().quantized(quantization).unwrap();
        let turned = tensor.transposed(&[1, 0]).unwrap();
        assert_eq!((turned.shape(), turned.dtype()), (&[3, 2][..], Some(DType::I8)));
        assert_eq!(turned.stored(&[0, 1]).unwrap().1, [1, -1, 2, 5, 3, 6]);
        assert_eq!(turned.to_f64(), tensor.permuted(&[1, 0]));
        assert_eq!(turned.quantization().unwrap().axis, 1);
        assert_eq!(counting(&[2, 2]).transposed(&[1, 0]).unwrap().to_f64(), [0.0, 2.0, 1.0, 3.0]);
    }

    #[test]
    fn reads_half_floats() {
        assert_eq!(half(0x3c00), 1.0);
        assert_eq!(half(0xc580), -5.5);
        assert_eq!(half(0x0001), 2f64.powi(-24));
        assert_eq!(half(0x7c00), f64::INFINITY);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn rejects_mismatched_data() {
        let bytes = |count| Values::Bytes(DType::F32, Cow::Owned(vec![0; count]));
        assert!(Constant::new(vec![2], bytes(4)).is_err());
        assert!(Constant::new(vec![1], bytes(5)).is_err());
        assert!(Constant::new(vec![usize::MAX, 2], bytes(4)).is_err());
        assert!(Constant::new(vec![1; 9], bytes(4)).is_err());
        let per_channel = Quantization { scales: vec![1.0; 3], zeros: vec![0; 3], axis: 0 };
        assert!(counting(&[2]).quantized(per_channel).is_err());
    }
}
