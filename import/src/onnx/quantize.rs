//! QuantizeLinear and DequantizeLinear
//! (<https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>): which values are integers, and what they stand for.
//!
//! A pair of both around a value leaves the value what it was but for its rounding, so that the source graph has no
//! nodes for them; the value only learns its quantization.

use std::borrow::Cow;
use std::rc::Rc;

use super::proto;
use super::scope::{Scope, Slot};
use super::tensor::{Attributes, axis_of};
use crate::error::{ImportError, Result};
use crate::source::{Constant, DType, Quantization, Quantized, ValueQuant, Values};

/// What a node says of its integers.
struct Parameters {
    /// That of the zero point, if there is one.
    dtype: Option<DType>,
    quantization: Quantization,
}

impl Parameters {
    /// `rank` is that of the tensor, where it is known.
    fn read<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, rank: Option<usize>) -> Result<Self> {
        let stored = scope.required(node, 1)?;
        if stored.shape().len() > 1 {
            return Err(ImportError::unsupported("blocks of the tensor have scales of their own")
                .expected("one scale, or one for each channel"));
        }
        let zeros = scope.constant(node, 2)?;
        let dtype = zeros.as_ref().and_then(|zeros| zeros.dtype());
        if zeros.as_ref().is_some_and(|zeros| zeros.is_real()) {
            return Err(ImportError::unsupported("the zero point is no integer").expected("int8 or uint8"));
        }
        // Many nodes may share one long tensor; each keeps a scale and a zero point of each of its channels.
        scope.spend(zeros.as_ref().map_or(stored.len(), |zeros| zeros.len()).saturating_add(stored.len()))?;
        let scales = stored.to_f64();
        let zeros = zeros.map_or_else(|| vec![0; scales.len()], |zeros| zeros.to_i64());
        let axis = axis_of(Attributes(&node.attribute).int("axis", 1), rank.unwrap_or(4)).unwrap_or(0);
        Ok(Self { dtype, quantization: Quantization { scales, zeros, axis } })
    }

    fn of_value(&self, dtype: DType) -> Quantized {
        match (self.quantization.scales.as_slice(), self.quantization.zeros.as_slice()) {
            (&[scale], &[zero_point]) => Quantized::Once(ValueQuant { dtype, scale: scale as f32, zero_point }),
            _ => Quantized::PerChannel,
        }
    }
}

/// The type of the integers that QuantizeLinear makes.
fn made(node: &proto::Node, parameters: &Parameters) -> Result<DType> {
    if let Some(dtype) = parameters.dtype {
        return Ok(dtype);
    }
    match Attributes(&node.attribute).int("output_dtype", 0) {
        0 | 2 => Ok(DType::U8),
        3 => Ok(DType::I8),
        4 => Ok(DType::U16),
        5 => Ok(DType::I16),
        other => Err(ImportError::unsupported(format!("quantizes to element type {other}")).expected("int8 or uint8")),
    }
}

/// Of an activation.
pub fn quantize<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let (value, layout) = scope.data(node, 0)?;
    let parameters = Parameters::read(scope, node, None)?;
    let dtype = made(node, &parameters)?;
    scope.quants.add(value, parameters.of_value(dtype));
    scope.name(node, Slot::Integers { value, layout, dtype, stands_for: Some(Rc::new(parameters.quantization)) })
}

/// Of an activation.
pub fn dequantize<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let (value, layout, dtype, stands_for) = match scope.slot(node, 0)? {
        Some(Slot::Integers { value, layout, dtype, stands_for }) => (value, layout, dtype, stands_for),
        // Of what an unknown operator makes nothing is known; that operator is told later.
        Some(slot @ Slot::Data { value, .. }) if scope.is_of_other(value) => return scope.name(node, slot),
        _ => return Err(ImportError::unsupported("input 0 is not quantized").expected("integers of QuantizeLinear")),
    };
    let parameters = Parameters::read(scope, node, None)?;
    if parameters.dtype.is_some_and(|of_zero| of_zero != dtype) {
        return Err(ImportError::malformed("the zero point has another type than the integers")
            .expected(format!("{dtype:?}"))
            .found(parameters.dtype.map(|dtype| format!("{dtype:?}")).unwrap_or_default()));
    }
    match stands_for {
        Some(before)
            if before.scales != parameters.quantization.scales || before.zeros != parameters.quantization.zeros =>
        {
            return Err(ImportError::unsupported("other scales or zero points than those of the integers")
                .expected("those that QuantizeLinear had")
                .help("the file may be damaged; quantize the model again"));
        }
        Some(_) => {}
        // The model's own input.
        None => {
            let quantized = parameters.of_value(dtype);
            scope.quants.add(value, quantized);
            if let (Quantized::Once(quant), DType::U8) = (quantized, dtype) {
                scope.pixels = Some((f64::from(quant.scale), quant.zero_point));
            }
        }
    }
    scope.name(node, Slot::Data { value, layout })
}

/// Of a constant: the nearest integers, ties to the even one.
pub fn quantized_constant<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<Slot<'a>> {
    let input = scope.required(node, 0)?;
    let parameters = Parameters::read(scope, node, Some(input.shape().len()))?;
    let dtype = made(node, &parameters)?;
    let [low, high] = match dtype {
        DType::I8 => [-128.0, 127.0],
        DType::U8 => [0.0, 255.0],
        other => return Err(ImportError::unsupported(format!("weights of {other:?}")).expected("int8 or uint8")),
    };
    scope.spend(input.len())?;
    let order: Vec<usize> = (0..input.shape().len()).collect();
    let quantization = parameters.quantization.clone();
    // Made to find the scale of each value as dequantizing does.
    let scaled = Constant::clone(&input).quantized(quantization)?;
    let bytes = scaled.gathered(&order, |value, channel| {
        let pair = parameters.quantization.scales.get(channel).zip(parameters.quantization.zeros.get(channel));
        let (scale, zero) = pair.map_or((f32::NAN, 0), |(scale, zero)| (*scale as f32, *zero));
        // In float32, as ONNX Runtime divides.
        let steps = f64::from((value as f32 / scale).round_ties_even()) + zero as f64;
        steps.clamp(low, high) as i16 as u8
    });
    let values = Values::Bytes(dtype, Cow::Owned(bytes));
    Ok(Slot::Constant(Rc::new(Constant::new(input.shape().to_vec(), values)?)))
}

/// Of a constant: it stays what it is, and learns what it stands for.
pub fn dequantized_constant<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<Slot<'a>> {
    let input = scope.required(node, 0)?;
    let parameters = Parameters::read(scope, node, Some(input.shape().len()))?;
    scope.spend(input.len())?;
    let constant = Constant::clone(&input).quantized(parameters.quantization)?;
    Ok(Slot::Constant(Rc::new(constant)))
}
