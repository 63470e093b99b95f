//! QuantizeLinear and DequantizeLinear
//! (<https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>): scales and zero points of values and weights.
//!
//! A pair of both changes a value only by rounding, so the source graph has no nodes for them; the quantization is recorded
//! with the value.

use std::borrow::Cow;
use std::rc::Rc;

use super::proto;
use super::scope::{Axes, Scope, Slot};
use super::tensor::{Attributes, axis_of};
use crate::error::{ImportError, Result};
use crate::source::{Constant, DType, Quantization, Quantized, Value, ValueQuant, Values};

/// Scale, zero point and type of a node's integers.
struct Parameters {
    /// Type of the zero point, if present.
    dtype: Option<DType>,
    quantization: Quantization,
}

impl Parameters {
    /// Reads the parameters of QuantizeLinear or DequantizeLinear. `rank` is that of the tensor, if known.
    fn read<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, rank: Option<usize>) -> Result<Self> {
        let axis = axis_of(Attributes(&node.attribute).int("axis", 1), rank.unwrap_or(4)).unwrap_or(0);
        Self::at(scope, node, [1, 2], axis)
    }

    /// Reads the scale and zero point at two inputs; `axis` is that of scales per channel.
    fn at<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, at: [usize; 2], axis: usize) -> Result<Self> {
        let stored = scope.required(node, at[0])?;
        if stored.shape().len() > 1 {
            return Err(ImportError::unsupported("blockwise quantization is unsupported")
                .expected("one scale, or one per channel"));
        }
        let zeros = scope.constant(node, at[1])?;
        let dtype = zeros.as_ref().and_then(|zeros| zeros.dtype());
        if zeros.as_ref().is_some_and(|zeros| zeros.is_real()) {
            return Err(ImportError::unsupported("the zero point is not an integer").expected("int8 or uint8"));
        }
        if let Some(zeros) = zeros.as_ref().filter(|zeros| zeros.len() != stored.len() && zeros.len() != 1) {
            return Err(ImportError::malformed("the numbers of scales and zero points differ").found(format!(
                "{} and {}",
                stored.len(),
                zeros.len()
            )));
        }
        // Many nodes may share one long tensor, and each copies its scales and zero points.
        scope.spend(stored.len().saturating_mul(2))?;
        let scales = stored.to_f64();
        let zeros = zeros.map_or_else(|| vec![0], |zeros| zeros.to_i64());
        let zeros = if zeros.len() == 1 { vec![zeros[0]; scales.len()] } else { zeros };
        Ok(Self { dtype, quantization: Quantization { scales, zeros, axis } })
    }

    fn of_value(&self, dtype: DType) -> Quantized {
        match (self.quantization.scales.as_slice(), self.quantization.zeros.as_slice()) {
            (&[scale], &[zero_point]) => Quantized::Once(ValueQuant { dtype, scale: scale as f32, zero_point }),
            _ => Quantized::PerChannel,
        }
    }
}

/// Returns the output type of QuantizeLinear.
fn output_type(node: &proto::Node, parameters: &Parameters) -> Result<DType> {
    if let Some(dtype) = parameters.dtype {
        return Ok(dtype);
    }
    match Attributes(&node.attribute).int("output_dtype", 0) {
        0 | 2 => Ok(DType::U8),
        3 => Ok(DType::I8),
        4 => Ok(DType::U16),
        5 => Ok(DType::I16),
        other => Err(ImportError::unsupported(format!("unsupported output type {other}")).expected("int8 or uint8")),
    }
}

/// Reads QuantizeLinear of an activation.
pub fn quantize<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let (value, axes) = scope.data(node, 0)?;
    let parameters = Parameters::read(scope, node, None)?;
    let dtype = output_type(node, &parameters)?;
    scope.quants.add(value, parameters.of_value(dtype));
    scope.name(node, Slot::Integers { value, axes, dtype, quantization: Some(Rc::new(parameters.quantization)) })
}

/// Reads DequantizeLinear of an activation.
pub fn dequantize<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    // The output of an unknown operator is passed on; that operator is reported later.
    if let Some(slot @ Slot::Data { value, .. }) = scope.slot(node, 0)?
        && scope.is_unknown(value)
    {
        return scope.name(node, slot);
    }
    let (value, axes, _) = integers(scope, node, [0, 1, 2])?;
    scope.name_dequantized(node, Slot::Data { value, axes })
}

/// Returns the quantized activation at input `at[0]`, after comparing the scale and zero point at the other two inputs
/// with its quantization. Returns the scale, too.
pub fn integers<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, at: [usize; 3]) -> Result<(Value, Axes, f64)> {
    let Some(Slot::Integers { value, axes, dtype, quantization }) = scope.slot(node, at[0])? else {
        return Err(ImportError::unsupported(format!("input {} is not a quantized value", at[0]))
            .expected("the output of QuantizeLinear or of a quantized layer"));
    };
    let parameters = Parameters::at(scope, node, [at[1], at[2]], 1)?;
    if parameters.dtype.is_some_and(|of_zero| of_zero != dtype) {
        return Err(ImportError::malformed("the type of the zero point differs from that of the integers")
            .expected(format!("{dtype:?}"))
            .found(parameters.dtype.map(|dtype| format!("{dtype:?}")).unwrap_or_default()));
    }
    let scale = parameters.quantization.scales.first().copied().unwrap_or(f64::NAN);
    match quantization {
        Some(before)
            if before.scales != parameters.quantization.scales || before.zeros != parameters.quantization.zeros =>
        {
            return Err(ImportError::unsupported("scale or zero point differs from that of the quantized value")
                .expected("equal parameters")
                .help("the file may be damaged; quantize the model again"));
        }
        Some(_) => {}
        // The model's input.
        None => {
            let quantized = parameters.of_value(dtype);
            if matches!(quantized, Quantized::PerChannel) {
                return Err(ImportError::unsupported("the image is quantized per channel")
                    .expected("one scale and zero point")
                    .found(format!("{} scales", parameters.quantization.scales.len()))
                    .help(
                        "export the model with a float image, or with Cast, Sub and Div in place of DequantizeLinear",
                    ));
            }
            scope.quants.add(value, quantized);
            if let (Quantized::Once(quant), DType::U8) = (quantized, dtype) {
                scope.pixels = Some((f64::from(quant.scale), quant.zero_point));
            }
        }
    }
    Ok((value, axes, scale))
}

/// Records the quantization of `value`, the result of a quantized layer, whose scale and zero point are at two inputs.
pub fn result<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    (value, axes): (Value, Axes),
    at: [usize; 2],
) -> Result<()> {
    let parameters = Parameters::at(scope, node, at, 1)?;
    let Some(dtype) = parameters.dtype else {
        return Err(ImportError::unsupported("the result of a quantized layer has no zero point")
            .expected("a quantized result")
            .help("quantize with `quant_format=QuantFormat.QDQ`"));
    };
    scope.quants.add(value, parameters.of_value(dtype));
    scope.name(node, Slot::Integers { value, axes, dtype, quantization: Some(Rc::new(parameters.quantization)) })
}

/// Returns the weights at input `at[0]` with the scale and zero point at the other two; `axis` is that of the channels.
pub fn weight<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    at: [usize; 3],
    axis: usize,
) -> Result<Rc<Constant<'a>>> {
    let stored = scope.required(node, at[0])?;
    let parameters = Parameters::at(scope, node, [at[1], at[2]], axis)?;
    if parameters.dtype != stored.dtype() {
        return Err(ImportError::malformed("the type of the zero point differs from that of the weights"));
    }
    scope.spend(stored.len())?;
    Ok(Rc::new(Constant::clone(&stored).quantized(parameters.quantization)?))
}

/// Returns the bias at input `at`, whose unit is `scale`, that of the input, times the scale of the channel's weights.
pub fn bias<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    at: usize,
    scale: f64,
    weight: &Constant<'_>,
) -> Result<Option<Rc<Constant<'a>>>> {
    let Some(stored) = scope.constant(node, at)? else { return Ok(None) };
    let scales = weight.quantization().map_or(&[][..], |quantization| &quantization.scales);
    scope.spend(stored.len().saturating_add(scales.len().saturating_mul(2)))?;
    let scales: Vec<f64> = scales.iter().map(|of_channel| scale * of_channel).collect();
    let zeros = vec![0; scales.len()];
    let bias = Constant::clone(&stored).into_vector()?.quantized(Quantization { scales, zeros, axis: 0 })?;
    Ok(Some(Rc::new(bias)))
}

/// Quantizes a constant to the nearest integers, ties to even.
pub fn quantized_constant<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<Slot<'a>> {
    let input = scope.required(node, 0)?;
    let parameters = Parameters::read(scope, node, Some(input.shape().len()))?;
    let dtype = output_type(node, &parameters)?;
    let [low, high] = match dtype {
        DType::I8 => [-128.0, 127.0],
        DType::U8 => [0.0, 255.0],
        other => {
            return Err(
                ImportError::unsupported(format!("unsupported weight type {other:?}")).expected("int8 or uint8")
            );
        }
    };
    scope.spend(input.len())?;
    let order: Vec<usize> = (0..input.shape().len()).collect();
    let quantization = parameters.quantization.clone();
    // Associates the scale of each channel, as in dequantization.
    let scaled = Constant::clone(&input).quantized(quantization)?;
    let bytes = scaled.gathered(&order, |value, channel| {
        let pair = parameters.quantization.scales.get(channel).zip(parameters.quantization.zeros.get(channel));
        let (scale, zero) = pair.map_or((f32::NAN, 0), |(scale, zero)| (*scale as f32, *zero));
        // In float32, as in ONNX Runtime.
        let steps = f64::from((value as f32 / scale).round_ties_even()) + zero as f64;
        steps.clamp(low, high) as i16 as u8
    });
    let values = Values::Bytes(dtype, Cow::Owned(bytes));
    Ok(Slot::Constant(Rc::new(Constant::new(input.shape().to_vec(), values)?)))
}

/// Records the quantization of a constant, whose integers are kept.
pub fn dequantized_constant<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<Slot<'a>> {
    let input = scope.required(node, 0)?;
    let parameters = Parameters::read(scope, node, Some(input.shape().len()))?;
    scope.spend(input.len())?;
    let constant = Constant::clone(&input).quantized(parameters.quantization)?;
    Ok(Slot::Constant(Rc::new(constant)))
}
