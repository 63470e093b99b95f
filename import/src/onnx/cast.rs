//! Rounds constants as Cast to a float type does.

use std::rc::Rc;

use super::proto;
use super::scope::{Scope, Slot};
use crate::error::Result;
use crate::source::{Constant, DType, Values};

/// Returns the constant at input 0 after a cast to float32, float16, float64 or bfloat16: `to` is a `TensorProto.DataType`.
pub fn constant<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, to: i64) -> Result<Slot<'a>> {
    let slot = scope.slot(node, 0)?.unwrap_or(Slot::Computed);
    let Some(before) = scope.known(node, 0)? else { return Ok(slot) };
    if is_exact(&before, to) {
        return Ok(slot);
    }
    scope.spend(before.len().saturating_mul(2))?;
    let after = rounded(&before, to)?;
    // Keeps the type and the quantization of the original.
    Ok(if is_same(&before, &after) { slot } else { Slot::Constant(Rc::new(after)) })
}

/// Whether the type of the elements shows that the cast does not change them.
fn is_exact(constant: &Constant<'_>, to: i64) -> bool {
    let is_narrow = matches!(constant.dtype(), Some(dtype) if dtype.size() < 4 || dtype == DType::F32);
    to == 11 || (to == 1 && (is_narrow || constant.quantization().is_some()))
}

/// Rounds to nearest, ties to even. Doubles are rounded to float32 first, as in ONNX Runtime.
fn rounded(constant: &Constant<'_>, to: i64) -> Result<Constant<'static>> {
    let floats = constant.to_f64().into_iter().map(|value| value as f32);
    let values = match to {
        10 => Values::Bytes(DType::F16, floats.map(half_bits).flat_map(u16::to_le_bytes).collect()),
        16 => Values::Bytes(DType::Bf16, floats.map(bfloat_bits).flat_map(u16::to_le_bytes).collect()),
        _ => Values::F32(floats.collect()),
    };
    Constant::new(constant.shape().to_vec(), values)
}

/// Whether the values are equal. Values of a quantized constant are float32 products.
fn is_same(before: &Constant<'_>, after: &Constant<'_>) -> bool {
    let is_product = before.quantization().is_some();
    let before = before.to_f64().into_iter().map(|value| if is_product { f64::from(value as f32) } else { value });
    before.zip(after.to_f64()).all(|(before, after)| before == after || (before.is_nan() && after.is_nan()))
}

/// Returns the bits of the nearest IEEE 754 binary16, ties to even.
fn half_bits(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    if value.is_nan() {
        return sign | 0x7e00;
    }
    // Subnormal numbers have the spacing of the smallest normal exponent.
    let exponent = ((value.to_bits() >> 23 & 0xff) as i32 - 127).max(-14);
    if exponent > 15 {
        return sign | 0x7c00;
    }
    // At most 2048. The leading bit of a normal number (1024) and a carry increment the exponent, up to infinity.
    let steps = (f64::from(value.abs()) * 2f64.powi(10 - exponent)).round_ties_even() as u16;
    sign | ((((exponent + 14) as u16) << 10) + steps)
}

/// Returns the bits of the nearest bfloat16, ties to even.
fn bfloat_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_nearest() {
        for (value, bits) in [
            (0.0, 0),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-5.5, 0xc580),
            (0.1, 0x2e66),
            // Ties between 1 and 1 + 2^-10, and between 1 + 2^-10 and 1 + 2^-9.
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (1.999_9, 0x4000),
            (65504.0, 0x7bff),
            (65519.0, 0x7bff),
            (65520.0, 0x7c00),
            (-1e9, 0xfc00),
            (f32::INFINITY, 0x7c00),
            (2f32.powi(-14), 0x0400),
            (2f32.powi(-24), 0x0001),
            (2f32.powi(-25), 0x0000),
            (1.5 * 2f32.powi(-24), 0x0002),
            (1e-40, 0x0000),
        ] {
            assert_eq!(half_bits(value), bits, "{value}");
        }
        assert_eq!(half_bits(f32::NAN) & 0x7fff, 0x7e00);
    }

    #[test]
    fn bfloats_are_the_nearest() {
        for (value, bits) in [
            (1.0, 0x3f80),
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (f32::MAX, 0x7f80),
            (-1e-40, 0x8001),
            (f32::NEG_INFINITY, 0xff80),
        ] {
            assert_eq!(bfloat_bits(value), bits, "{value}");
        }
        assert_eq!(bfloat_bits(f32::from_bits(0x7f80_0001)) & 0x7fc0, 0x7fc0);
    }
}
