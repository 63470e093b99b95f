//! Quantised networks: from a recognised chain to the tensors of a container, and the check of those that are read.

use mbvc_compiler::interp::{QuantBindings, Values};
use mbvc_compiler::spec::Precision;
use mbvc_runtime::quant::{Integer, PoolKind, Quant, is_scale};

use crate::container::{Container, Data, Tensor};
use crate::error::{ImportError, Result};
use crate::recognise::{Chain, Layer};
use crate::source::{Constant, DType, SourceGraph, Value, ValueQuant, shorten};

const SCALE: &str = ".scale";
const ZERO_POINT: &str = ".zero_point";
const MEAN: &str = "mean";
const AVERAGE: &str = "average";
const REMEDY: &str = "`mbvc import --dequantize` takes its weights as float32";

/// A quantised network as the container holds it.
pub struct Kept {
    pub precision: Precision,
    pub tensors: Vec<Tensor>,
    /// `mbvc.pool`.
    pub pool: &'static str,
    pub how: &'static str,
}

/// The tensors of a network whose values are quantised; `None` for one that computes in floats.
pub fn keep(chain: &Chain<'_>, graph: &SourceGraph<'_>) -> Result<Option<Kept>> {
    let Some(input) = graph.quants.get(&graph.input) else { return Ok(None) };
    if !chain.layers().any(|layer| layer.kernel.constant.quantization().is_some()) {
        return Ok(None);
    }
    let (integer, precision, how) = match input.dtype {
        DType::U8 => (Integer::Uint8, Precision::Uint8, "values and weights of 8 bits without sign"),
        _ => (Integer::Int8, Precision::Int8, "values and weights of 8 bits with sign"),
    };
    if chain.front.is_some() {
        return Err(ImportError::unsupported("a quantised network does arithmetic with its input").help(REMEDY));
    }
    let mut keeper = Keeper { graph, integer, dtype: input.dtype, tensors: Vec::new() };
    keeper.value("input", graph.input)?;
    keeper.layer(&chain.stem)?;
    for (at, block) in chain.blocks.iter().enumerate() {
        let layers = block.expand.iter().chain([&block.depthwise, &block.project]);
        layers.into_iter().try_for_each(|layer| keeper.layer(layer))?;
        if block.residual {
            keeper.value(&format!("block{}.add", at + 1), block.output)?;
        }
    }
    keeper.layer(&chain.head)?;
    keeper.value("head.pool", chain.pool.output)?;
    keeper.layer(&chain.classifier)?;
    let pool = if chain.pool.windowed { AVERAGE } else { MEAN };
    Ok(Some(Kept { precision, tensors: keeper.tensors, pool, how }))
}

struct Keeper<'g> {
    graph: &'g SourceGraph<'g>,
    integer: Integer,
    dtype: DType,
    tensors: Vec<Tensor>,
}

impl Keeper<'_> {
    /// The scale and zero point of a value.
    fn value(&mut self, name: &str, value: Value) -> Result<()> {
        let wrong = |problem: String| ImportError::unsupported(problem).role(name.to_owned()).help(REMEDY);
        let Some(&ValueQuant { dtype, scale, zero_point }) = self.graph.quants.get(&value) else {
            return Err(wrong("the value is not quantised, though others are".into()));
        };
        if dtype != self.dtype {
            return Err(wrong(format!("the value is {dtype:?}, though the input is {:?}", self.dtype)));
        }
        let quant = i32::try_from(zero_point).ok().and_then(|zero| Quant::new(scale, zero, self.integer));
        let quant = quant.ok_or_else(|| wrong(format!("scale {scale} with zero point {zero_point} is none")))?;
        self.push(format!("{name}{SCALE}"), vec![1], Data::F32(vec![quant.scale()]));
        self.push(format!("{name}{ZERO_POINT}"), vec![1], Data::I32(vec![quant.zero_point()]));
        Ok(())
    }

    fn layer(&mut self, layer: &Layer<'_>) -> Result<()> {
        self.weights(layer).map_err(|error| error.at(layer.place.clone()).role(layer.role.clone()))?;
        self.value(&layer.role, layer.output)
    }

    fn weights(&mut self, layer: &Layer<'_>) -> Result<()> {
        let unsupported = |problem: &str| ImportError::unsupported(problem).help(REMEDY);
        let channels = layer.out_channels();
        let kernel = layer.kernel;
        if !layer.norms.is_empty() || kernel.scale != 1.0 {
            return Err(unsupported("arithmetic follows a quantised layer"));
        }
        let stored = kernel.constant.stored(&kernel.order).filter(|(dtype, _)| *dtype == self.dtype);
        let (Some((_, weights)), Some(quantization)) = (stored, kernel.constant.quantization()) else {
            return Err(
                unsupported("the weights have not the type of the values").expected(format!("{:?}", self.dtype))
            );
        };
        let scales: Vec<f32> = quantization.scales.iter().map(|scale| *scale as f32).collect();
        if scales.len() > 1 && kernel.order.last() != Some(&quantization.axis) {
            return Err(unsupported("the weights have scales along another axis than their outputs"));
        }
        if !scales.iter().copied().all(is_scale) {
            return Err(ImportError::malformed("a scale of the weights is not a number above 0"));
        }
        let name = &layer.role;
        let (data, scales, zero_point) = match self.integer {
            Integer::Int8 => {
                if quantization.zeros.iter().any(|zero| *zero != 0) {
                    return Err(unsupported("int8 weights with a zero point").expected("symmetric weights"));
                }
                // One scale for all is the same for each.
                let scales = if scales.len() == 1 { vec![scales[0]; channels] } else { scales };
                (Data::I8(weights.iter().map(|weight| *weight as i8).collect()), scales, None)
            }
            Integer::Uint8 => {
                let (&[zero], 1) = (quantization.zeros.as_slice(), scales.len()) else {
                    return Err(unsupported("uint8 weights with a scale for each channel").expected("one for all"));
                };
                let zero = u8::try_from(zero)
                    .map_err(|_| ImportError::malformed(format!("the weights have the zero point {zero}")))?;
                (Data::U8(weights.iter().map(|weight| *weight as u8).collect()), scales, Some(zero))
            }
        };
        let bias = bias(layer.bias, channels)?;
        self.push(format!("{name}.weight"), layer.shape.clone(), data);
        self.push(format!("{name}.bias"), vec![channels], Data::I32(bias));
        self.push(format!("{name}.weight{SCALE}"), vec![scales.len()], Data::F32(scales));
        if let Some(zero) = zero_point {
            self.push(format!("{name}.weight{ZERO_POINT}"), vec![1], Data::I32(vec![i32::from(zero)]));
        }
        Ok(())
    }

    fn push(&mut self, name: String, shape: Vec<usize>, data: Data) {
        self.tensors.push(Tensor { name, shape, data });
    }
}

/// 0 where there is none. TensorFlow Lite's bias counts in steps of input scale * weight scale by definition.
fn bias(bias: Option<&Constant<'_>>, channels: usize) -> Result<Vec<i32>> {
    let Some(bias) = bias else { return Ok(vec![0; channels]) };
    match bias.stored(&[0]) {
        Some((DType::I32, values)) if values.len() == channels => {
            Ok(values.iter().map(|value| *value as i32).collect())
        }
        _ => Err(ImportError::unsupported("the bias does not fit the quantised layer")
            .expected(format!("{channels} values of int32"))
            .help(REMEDY)),
    }
}

/// Whether a tensor says what others stand for, rather than being weights itself.
pub fn is_parameter_of(name: &str) -> bool {
    name.ends_with(SCALE) || name.ends_with(ZERO_POINT)
}

/// Checks types, scales and zero points of a container against its precision.
pub fn check(container: &Container) -> Result<()> {
    let precision = container.metadata.get("mbvc.precision").map_or("f32", String::as_str);
    let integer = match precision {
        "int8" => Integer::Int8,
        "uint8" => Integer::Uint8,
        _ => {
            let other = container.tensors.iter().find(|tensor| tensor.data.f32s().is_none());
            return other.map_or(Ok(()), |tensor| Err(wrong(tensor, "F32")));
        }
    };
    if !matches!(container.metadata.get("mbvc.pool").map(String::as_str), Some(MEAN | AVERAGE)) {
        return Err(ImportError::malformed("the metadata entry mbvc.pool is missing or unknown")
            .expected("mean or average, with precision int8 or uint8")
            .help("make the file again with `mbvc import`"));
    }
    container.tensors.iter().try_for_each(|tensor| check_tensor(tensor, integer))
}

fn check_tensor(tensor: &Tensor, integer: Integer) -> Result<()> {
    let name = tensor.name.as_str();
    match &tensor.data {
        Data::F32(scales) if name.ends_with(SCALE) => {
            let odd = scales.iter().find(|scale| !is_scale(**scale));
            odd.map_or(Ok(()), |scale| Err(wrong(tensor, "normal numbers above 0").found(scale.to_string())))
        }
        Data::I32(zeros) if name.ends_with(ZERO_POINT) => {
            let limits = integer.limits();
            let odd = zeros.iter().find(|zero| limits.clamp(**zero) != **zero);
            let range = format!("{} to {}", limits.low, limits.high);
            odd.map_or(Ok(()), |zero| Err(wrong(tensor, &range).found(zero.to_string())))
        }
        _ if name.ends_with(SCALE) => Err(wrong(tensor, "F32")),
        _ if name.ends_with(ZERO_POINT) => Err(wrong(tensor, "I32")),
        Data::I32(_) if name.ends_with(".bias") => Ok(()),
        _ if name.ends_with(".bias") => Err(wrong(tensor, "I32")),
        Data::I8(_) if integer == Integer::Int8 => Ok(()),
        Data::U8(_) if integer == Integer::Uint8 => Ok(()),
        _ => Err(wrong(tensor, if integer == Integer::Int8 { "I8" } else { "U8" })),
    }
}

fn wrong(tensor: &Tensor, expected: &str) -> Box<ImportError> {
    ImportError::malformed(format!("tensor '{}' is not what the precision asks for", shorten(&tensor.name)))
        .expected(expected)
        .found(tensor.data.element().name())
        .help("make the file again with `mbvc import`")
}

/// Lets the reference interpreter run on a quantised container.
impl QuantBindings for Container {
    fn values(&self, name: &str) -> Option<Values<'_>> {
        Some(match &self.tensor(name)?.data {
            Data::F32(values) => Values::F32(values),
            Data::I8(values) => Values::I8(values),
            Data::U8(values) => Values::U8(values),
            Data::I32(values) => Values::I32(values),
        })
    }

    fn pool(&self) -> PoolKind {
        match self.metadata.get("mbvc.pool").map(String::as_str) {
            Some(AVERAGE) => PoolKind::Average,
            _ => PoolKind::Mean,
        }
    }
}
