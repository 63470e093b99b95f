//! Conversion of a recognized chain to the tensors of a quantized container.
//!
//! A container has one of two forms (`container.rs`): int8 with symmetric weights and a scale per channel, or uint8 with
//! one scale and zero point for all weights of a layer. Files mix types, for instance uint8 values with int8 weights in
//! ONNX. Adding 128 to an integer and its zero point changes its type but not the number it represents, so mixtures are
//! converted to one of the two forms without rounding. All others are rejected.

use mbvc_compiler::spec::Precision;
use mbvc_runtime::quantized::arithmetic::{Integer, Quant, is_scale};

use super::check::{AVERAGE, MEAN, SCALE, ZERO_POINT};
use crate::error::{ImportError, Result};
use crate::recognize::{Chain, Layer, Norm};
use crate::source::{Constant, DType, Format, Quantization, Quantized, SourceGraph, Value};
use crate::tensor::{Data, Tensor};

const REMEDY: &str = "import its weights as float32 with `mbvc import --dequantize`";

/// Relative tolerance for a product that is rounded to float32 twice (2^-24 each), with a margin.
const TOLERANCE: f64 = 2.5e-7;

/// A quantized network in the form of the container.
pub struct Kept {
    pub precision: Precision,
    pub tensors: Vec<Tensor>,
    /// `mbvc.pool`.
    pub pool: &'static str,
    pub how: &'static str,
    /// Whether biases are rounded to multiples of input scale * weight scale.
    pub rounds_biases: bool,
}

/// Converts a network whose values are quantized; `None` for one that computes in floats.
pub fn keep(chain: &Chain<'_>, graph: &SourceGraph<'_>) -> Result<Option<Kept>> {
    let is_quantized = |value: Value| graph.quants.get(value).is_some();
    let weights = chain.layers().any(|layer| layer.kernel.constant.quantization().is_some());
    let values = is_quantized(graph.input) || chain.layers().any(|layer| layer.output().is_some_and(is_quantized));
    if !values {
        return Ok(None);
    }
    if !weights {
        return Err(unsupported("the weights are not quantized, but values are"));
    }
    if chain.front.is_some() {
        return Err(ImportError::unsupported(
            "the quantized network has operations before its stem, which round the pixels",
        )
        .role("input")
        .expected("an input that the stem reads directly")
        .help("convert the model without its preprocessing layers, or import its weights as float32 with `mbvc import --dequantize`"));
    }
    let (integer, how) = form(chain)?;
    let mut keeper = Keeper { graph, integer, last: None, tensors: Vec::new(), rounds_biases: false };
    keeper.value("input", Some(graph.input))?;
    keeper.layer(&chain.stem)?;
    for (at, block) in chain.blocks.iter().enumerate() {
        let layers = block.expand.iter().chain([&block.depthwise, &block.project]);
        layers.into_iter().try_for_each(|layer| keeper.layer(layer))?;
        if block.residual {
            keeper.value(&format!("block{}.add", at + 1), Some(block.output))?;
        }
    }
    keeper.layer(&chain.head)?;
    keeper.value("head.pool", Some(chain.pool.output))?;
    chain.dense.iter().chain([&chain.classifier]).try_for_each(|layer| keeper.layer(layer))?;
    if let Some(output) = chain.classifier.output().and_then(|logits| graph.quants.float_output(logits)) {
        return Err(unsupported("the model returns the logits before their quantization")
            .role("output")
            .expected("the logits after DequantizeLinear as the output")
            .found(output));
    }
    // ONNX's pools are means for any window: the result has its own scale.
    let averages = chain.pool.windowed && graph.format == Format::TfLite;
    let precision = if integer == Integer::Int8 { Precision::Int8 } else { Precision::Uint8 };
    let (tensors, rounds_biases) = (keeper.tensors, keeper.rounds_biases);
    Ok(Some(Kept { precision, tensors, pool: if averages { AVERAGE } else { MEAN }, how, rounds_biases }))
}

fn unsupported(problem: impl Into<String>) -> Box<ImportError> {
    ImportError::unsupported(problem).help(REMEDY)
}

/// Returns the zero point of symmetric weights.
fn middle(dtype: DType) -> i64 {
    if dtype == DType::U8 { 128 } else { 0 }
}

/// Selects the form for the weights of all layers, with the evidence.
fn form(chain: &Chain<'_>) -> Result<(Integer, &'static str)> {
    let mut weights = Vec::new();
    for layer in chain.layers() {
        let described = of_weights(layer).map_err(|error| error.at(layer.place.clone()).role(layer.role.clone()))?;
        weights.push((layer, described));
    }
    let symmetric =
        |(dtype, quantization): (DType, &Quantization)| quantization.zeros.iter().all(|zero| *zero == middle(dtype));
    let per_channel = weights.iter().find(|(_, (_, quantization))| quantization.scales.len() > 1);
    let asymmetric = weights.iter().find(|(_, described)| !symmetric(*described));
    let unsigned = weights.iter().all(|(_, (dtype, _))| *dtype == DType::U8);
    match (asymmetric, per_channel) {
        (_, None) if unsigned => Ok((Integer::Uint8, "unsigned 8-bit values and weights")),
        (None, _) => Ok((Integer::Int8, "symmetric 8-bit weights")),
        (Some(_), None) => Ok((Integer::Uint8, "one scale and zero point for the weights of each layer")),
        (Some((layer, (_, quantization))), Some((other, _))) => {
            let found = match quantization.scales.len() {
                1 => format!("zero points here, scales per channel in {}", other.role),
                _ => "zero points and scales per channel".to_owned(),
            };
            Err(unsupported("the weights of the network are neither symmetric nor quantized per layer")
                .at(layer.place.clone())
                .role(layer.role.clone())
                .expected("zero points of 0 (of uint8: 128), or one scale and zero point for all weights of a layer")
                .found(found))
        }
    }
}

/// Returns the type and quantization of weights, after checking scales and axis.
fn of_weights<'l>(layer: &'l Layer<'_>) -> Result<(DType, &'l Quantization)> {
    let kernel = layer.kernel;
    let Some(quantization) = kernel.constant.quantization() else {
        return Err(unsupported("the weights are not quantized, but values are"));
    };
    let dtype = match kernel.constant.dtype() {
        Some(dtype @ (DType::I8 | DType::U8)) => dtype,
        other => {
            return Err(unsupported("the weights are not 8-bit integers")
                .expected("int8 or uint8")
                .found(other.map_or("64-bit numbers".into(), |dtype| format!("{dtype:?}"))));
        }
    };
    if quantization.scales.len() > 1 && kernel.order.last() != Some(&quantization.axis) {
        return Err(unsupported("the scales of the weights are not along the output channels"));
    }
    if !quantization.scales.iter().all(|scale| is_scale(*scale as f32)) {
        return Err(ImportError::malformed("a scale of the weights is not a normal number above 0"));
    }
    Ok((dtype, quantization))
}

struct Keeper<'g> {
    graph: &'g SourceGraph<'g>,
    integer: Integer,
    /// Scale of the last value, the input of the next layer.
    last: Option<f32>,
    tensors: Vec<Tensor>,
    rounds_biases: bool,
}

impl Keeper<'_> {
    /// Adds the scale and zero point of a value, in the container's type.
    fn value(&mut self, name: &str, value: Option<Value>) -> Result<()> {
        let wrong = |problem: String| unsupported(problem).role(name.to_owned());
        let not_quantized = || wrong("the value is not quantized, but others are".into());
        let value = value.ok_or_else(not_quantized)?;
        let quant = match self.graph.quants.get(value) {
            Some(Quantized::Once(quant)) => quant,
            Some(Quantized::Differently) => return Err(wrong("the value has several quantizations".into())),
            Some(Quantized::PerChannel) => return Err(wrong("the value has scales per channel".into())),
            None => return Err(not_quantized()),
        };
        if let Some(reader) = self.graph.quants.float_reader(value) {
            return Err(wrong("the value is read both before and after its quantization".into())
                .expected("operations that all read the quantized value")
                .found(format!("{reader} reads the value before its quantization"))
                .help(format!("insert QuantizeLinear and DequantizeLinear before that operation, too, or {REMEDY}")));
        }
        if !quant.is_byte() {
            return Err(wrong(format!("the value has element type {:?}", quant.dtype)).expected("int8 or uint8"));
        }
        let zero = quant.above_least().and_then(|above| i32::try_from(above).ok());
        let zero = zero.and_then(|above| above.checked_add(self.integer.limits().low));
        let checked = zero.and_then(|zero| Quant::new(quant.scale, zero, self.integer));
        let checked = checked
            .ok_or_else(|| wrong(format!("invalid scale {} or zero point {}", quant.scale, quant.zero_point)))?;
        self.last = Some(checked.scale());
        self.push(format!("{name}{SCALE}"), vec![1], Data::F32(vec![checked.scale()]));
        self.push(format!("{name}{ZERO_POINT}"), vec![1], Data::I32(vec![checked.zero_point()]));
        Ok(())
    }

    fn layer(&mut self, layer: &Layer<'_>) -> Result<()> {
        let written = self.steps(layer).and_then(|()| self.weights(layer));
        written.map_err(|error| error.at(layer.place.clone()).role(layer.role.clone()))?;
        self.value(&layer.role, layer.output())
    }

    /// Checks that a layer rounds once, to the quantization of its output.
    fn steps(&self, layer: &Layer<'_>) -> Result<()> {
        let quants = &self.graph.quants;
        let Some((output, before)) = layer.steps.split_last() else { return Ok(()) };
        let (sums, clamped) = before.split_at(layer.norms.len().min(before.len()));
        if sums.iter().any(|value| quants.get(*value).is_some()) {
            return Err(unsupported("values are quantized between a layer and the following arithmetic").help(
                "export the model with the bias in the layer (Gemm instead of MatMul and Add), or use --dequantize",
            ));
        }
        if quants.get(*output).is_none() && clamped.iter().any(|value| quants.get(*value).is_some()) {
            return Err(unsupported("values are quantized before the activation, but not after it")
                .help(format!("quantize with `quant_format=QuantFormat.QDQ`, or {REMEDY}")));
        }
        let output = quants.get(*output);
        // With equal steps, clamping after rounding equals clamping before it.
        let rounds_again = clamped.iter().filter_map(|value| quants.get(*value)).any(|quantized| match quantized {
            Quantized::Once(quant) => !matches!(output, Some(Quantized::Once(output)) if quant.is_same(output)),
            _ => true,
        });
        if rounds_again {
            return Err(unsupported("the quantization before the activation differs from that after it").expected(
                "equal quantizations, as from ONNX Runtime's quantizer for an activation that is one Relu or Clip",
            ));
        }
        Ok(())
    }

    fn weights(&mut self, layer: &Layer<'_>) -> Result<()> {
        let channels = layer.out_channels();
        if !layer.before.is_empty() {
            return Err(unsupported("arithmetic between the pool and a quantized layer is unsupported"));
        }
        if layer.copies.is_some() {
            return Err(unsupported("a quantized network that reads copies of a gray image is unsupported"));
        }
        if layer.kernel.scale != 1.0 {
            return Err(unsupported("arithmetic after a quantized layer is unsupported"));
        }
        let (dtype, quantization) = of_weights(layer)?;
        let scales: Vec<f32> = quantization.scales.iter().map(|scale| *scale as f32).collect();
        let Some((_, stored)) = layer.kernel.constant.stored(&layer.kernel.order) else {
            return Err(unsupported("the weights are not integers"));
        };
        let bias = self.bias(layer, &scales, channels)?;
        let name = &layer.role;
        let from_middle = stored.iter().map(|weight| weight - middle(dtype));
        let (data, scales, zero_point) = match self.integer {
            Integer::Int8 => {
                // A per-layer scale is repeated per channel.
                let scales = if scales.len() == 1 { vec![scales[0]; channels] } else { scales };
                (Data::I8(from_middle.map(|weight| weight as i8).collect()), scales, None)
            }
            Integer::Uint8 => {
                let zero = quantization.zeros.first().copied().unwrap_or(0).saturating_add(128 - middle(dtype));
                let zero = u8::try_from(zero).map_err(|_| {
                    ImportError::malformed(format!("the zero point {zero} of the weights is outside uint8"))
                })?;
                (Data::U8(from_middle.map(|weight| (weight + 128) as u8).collect()), scales, Some(zero))
            }
        };
        self.push(format!("{name}.weight"), layer.shape.clone(), data);
        self.push(format!("{name}.bias"), vec![channels], Data::I32(bias));
        self.push(format!("{name}.weight{SCALE}"), vec![scales.len()], Data::F32(scales));
        if let Some(zero) = zero_point {
            self.push(format!("{name}.weight{ZERO_POINT}"), vec![1], Data::I32(vec![i32::from(zero)]));
        }
        Ok(())
    }

    /// Returns the bias in units of input scale * weight scale; zeros if there is none.
    fn bias(&mut self, layer: &Layer<'_>, scales: &[f32], channels: usize) -> Result<Vec<i32>> {
        let fits = |bias: &Constant<'_>| bias.len() == channels;
        if layer.bias.is_some_and(|bias| !fits(bias)) {
            return Err(unsupported("the bias does not fit the quantized layer").expected(format!("{channels} values")));
        }
        let input = self.last.unwrap_or(f32::NAN);
        let of_channel = |at: usize| scales.get(if scales.len() == 1 { 0 } else { at }).copied().unwrap_or(f32::NAN);
        if let (Some(bias), []) = (layer.bias, layer.norms.as_slice())
            && let Some((DType::I32, stored)) = bias.stored(&[0])
            // TensorFlow Lite defines this unit, independent of the scale of the tensor.
            && (self.graph.format == Format::TfLite || has_unit(bias, |at| input * of_channel(at)))
        {
            return Ok(stored.iter().map(|value| *value as i32).collect());
        }
        let mut real = match layer.bias {
            None => vec![0.0; channels],
            Some(bias) if bias.is_real() => bias.to_f64(),
            Some(_) => return Err(unsupported("the bias has integers without a scale").expected("int32 or floats")),
        };
        for norm in &layer.norms {
            let Norm::Affine(affine) = norm else {
                return Err(unsupported("arithmetic after a quantized layer is unsupported"));
            };
            for (at, value) in real.iter_mut().enumerate() {
                match (affine.scale(at), affine.offset(at)) {
                    (Some(1.0), Some(offset)) => *value += offset,
                    _ => return Err(unsupported("arithmetic after a quantized layer is unsupported")),
                }
            }
        }
        let mut rounds = false;
        // The arithmetic of ONNX Runtime (`WeightBiasQuantization`), in float32.
        let steps = real.iter().enumerate().map(|(at, real)| {
            let exact = *real as f32 / (input * of_channel(at));
            let rounded = f64::from(exact.round_ties_even());
            rounds |= (f64::from(exact) - rounded).abs() > f64::from(exact).abs() * TOLERANCE;
            // The cast is exact within the limits, which exclude NaN.
            (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&rounded).then_some(rounded as i32)
        });
        let steps = steps.collect::<Option<_>>().ok_or_else(|| {
            unsupported("the bias does not fit 32 bits in units of input scale * weight scale")
                .expected("a larger weight scale")
        })?;
        self.rounds_biases |= rounds;
        Ok(steps)
    }

    fn push(&mut self, name: String, shape: Vec<usize>, data: Data) {
        self.tensors.push(Tensor { name, shape, data });
    }
}

/// Whether the bias has units of `scale`, to within the rounding of a float32 product.
fn has_unit(bias: &Constant<'_>, scale: impl Fn(usize) -> f32) -> bool {
    let Some(Quantization { scales, zeros, .. }) = bias.quantization() else { return false };
    zeros.iter().all(|zero| *zero == 0)
        && (0..bias.len()).all(|at| {
            let own = scales.get(if scales.len() == 1 { 0 } else { at }).copied().unwrap_or(f64::NAN);
            (own - f64::from(scale(at))).abs() <= own.abs() * TOLERANCE
        })
}
