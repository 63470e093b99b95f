//! Graphs of quantized values, executed in integers from the image to the logits, bit-exact.

use std::collections::BTreeMap;

use mbvc_compiler::ir;
use mbvc_compiler::ir::verify::verify;
use mbvc_compiler::ir::{Activation, ElementType, Epilogue, Graph, Op, Origin, ParamId, Shape, Tensor};
use mbvc_runtime::quantized::arithmetic::{Add, Integer, Limits, Pool, PoolKind, Quant, Requantize, Rounding};

use super::error::InterpError;
use super::kernels::{self, Convolution, Image, Order};
use super::machine::{Arithmetic, Machine, input_shape};

/// The stored values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'v> {
    /// Scales.
    F32(&'v [f32]),
    /// Weights of an int8 network.
    I8(&'v [i8]),
    /// Weights of a uint8 network.
    U8(&'v [u8]),
    /// Biases and zero points.
    I32(&'v [i32]),
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::I32(values) => values.len(),
        }
    }

    fn element(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::I8(_) => ElementType::I8,
            Self::U8(_) => ElementType::U8,
            Self::I32(_) => ElementType::I32,
        }
    }
}

/// Values of the parameters of a quantized graph by canonical name, in canonical layout.
pub trait QuantBindings {
    /// The values of a parameter; `None` if it is not bound.
    fn values(&self, name: &str) -> Option<Values<'_>>;
    /// The arithmetic of the average pool, a property of the model like scales.
    fn pool(&self) -> PoolKind;
}

/// Executes a quantized `graph` on a quantized NHWC image, and returns its quantized logits.
///
/// Numbers are passed as `i32` in the range of their type. `observe` is called with the NHWC value of every operation in
/// order of execution, including the stages of fused nodes.
///
/// # Errors
/// If the number of values of a parameter or the image is wrong, a value is out of range, or the graph is invalid or not
/// quantized.
pub fn run_quantized(
    graph: &Graph,
    bindings: &dyn QuantBindings,
    rounding: Rounding,
    image: &[i32],
    observe: &mut dyn FnMut(&Origin, Shape, &[i32]),
) -> Result<Vec<i32>, InterpError> {
    verify(graph, "interpretation", &[])?;
    let integers = Integers::new(graph, bindings, rounding)?;
    let shape = input_shape(graph);
    if image.len() != shape.elements() {
        return Err(InterpError::Input { shape, found: image.len() });
    }
    let range = integers.integer.limits();
    if let Some(value) = image.iter().find(|value| range.clamp(**value) != **value) {
        return Err(InterpError::Range { name: "the image".to_owned(), value: value.to_string() });
    }
    let mut result = Vec::new();
    Machine::new(graph, integers).run(image, &mut |origin, tensor, values| {
        observe(origin, tensor.shape, values);
        result = values.to_vec();
    })?;
    Ok(result)
}

/// Bound parameters and the arithmetic on them.
struct Integers {
    rounding: Rounding,
    integer: Integer,
    pool: PoolKind,
    /// Weights minus their zero points, biases and zero points.
    integers: BTreeMap<ParamId, Vec<i32>>,
    scales: BTreeMap<ParamId, Vec<f32>>,
}

impl Integers {
    fn new(graph: &Graph, bindings: &dyn QuantBindings, rounding: Rounding) -> Result<Self, InterpError> {
        let element = graph.ids().next().map_or(ElementType::F32, |id| graph.node(id).tensor.element);
        let integer = match element {
            ElementType::I8 => Integer::Int8,
            ElementType::U8 => Integer::Uint8,
            ElementType::F32 | ElementType::Bf16 | ElementType::I32 => return Err(InterpError::NotQuantized),
        };
        let mut bound =
            Self { rounding, integer, pool: bindings.pool(), integers: BTreeMap::new(), scales: BTreeMap::new() };
        for id in graph.used_params() {
            bound.bind(graph, bindings, id)?;
        }
        Ok(bound)
    }

    fn bind(&mut self, graph: &Graph, bindings: &dyn QuantBindings, id: ParamId) -> Result<(), InterpError> {
        let param = graph.param(id);
        let name = || param.name.clone();
        let values = bindings.values(&param.name).ok_or_else(|| InterpError::Unbound(name()))?;
        let (expected, found) = (param.shape.iter().product(), values.len());
        if expected != found {
            return Err(InterpError::Length { name: name(), expected, found });
        }
        if values.element() != param.element {
            let (expected, found) = (param.element.name(), values.element().name());
            return Err(InterpError::Type { name: name(), expected, found });
        }
        let widened = match values {
            Values::F32(scales) => {
                if let Some(scale) = scales.iter().find(|scale| !mbvc_runtime::quantized::arithmetic::is_scale(**scale))
                {
                    return Err(InterpError::Range { name: name(), value: scale.to_string() });
                }
                self.scales.insert(id, scales.to_vec());
                return Ok(());
            }
            Values::I8(values) => values.iter().map(|value| i32::from(*value)).collect(),
            Values::U8(values) => values.iter().map(|value| i32::from(*value)).collect(),
            Values::I32(values) => values.to_vec(),
        };
        self.integers.insert(id, widened);
        Ok(())
    }

    fn integers(&self, id: ParamId) -> &[i32] {
        self.integers.get(&id).map_or(&[], Vec::as_slice)
    }

    fn scale(&self, id: ParamId) -> f32 {
        self.scales.get(&id).and_then(|scales| scales.first()).copied().unwrap_or(f32::NAN)
    }

    /// The bound quantization of a value.
    fn quant(&self, quant: Option<ir::Quant>) -> Result<Quant, InterpError> {
        let ir::Quant { scale, zero_point } = quant.ok_or(InterpError::NotQuantized)?;
        let zero_point = self.integers(zero_point).first().copied().unwrap_or(0);
        Quant::new(self.scale(scale), zero_point, self.integer)
            .ok_or_else(|| InterpError::Range { name: "a zero point".to_owned(), value: zero_point.to_string() })
    }

    fn limits(&self, quant: Quant, activation: Option<Activation>) -> Limits {
        match activation {
            None => self.integer.limits(),
            Some(kind) => Limits::activated(self.integer, quant, kind == Activation::Relu6, self.rounding),
        }
    }

    /// The weights minus their zero point.
    fn weights(&self, weight: ParamId, requantize: ir::Requantize) -> Vec<i32> {
        let zero_point = requantize.weight_zero_point.and_then(|id| self.integers(id).first()).copied().unwrap_or(0);
        self.integers(weight).iter().map(|weight| weight.wrapping_sub(zero_point)).collect()
    }

    /// Requantizes sums, per channel.
    fn requantize(
        &self,
        mut sums: Vec<i32>,
        requantize: ir::Requantize,
        input: &Image<'_, i32>,
        activation: Option<Activation>,
        channels: usize,
    ) -> Result<Vec<i32>, InterpError> {
        let (input, output) = (self.quant(input.quant)?, self.quant(Some(requantize.output))?);
        let limits = self.limits(output, activation);
        let per_tensor = requantize.weight_zero_point.is_some();
        let scales = self.scales.get(&requantize.weight_scale).map_or(&[][..], Vec::as_slice);
        let of_channel = scales
            .iter()
            .cycle()
            .take(channels)
            .map(|scale| Requantize::new(self.rounding, input.scale(), *scale, per_tensor, output, limits));
        let of_channel: Vec<Requantize> = of_channel.collect();
        for pixel in sums.chunks_exact_mut(channels) {
            pixel.iter_mut().zip(&of_channel).for_each(|(sum, requantize)| *sum = requantize.apply(*sum));
        }
        Ok(sums)
    }

    fn add(&self, a: &Image<'_, i32>, b: &Image<'_, i32>, output: Tensor) -> Result<Vec<i32>, InterpError> {
        let [left, right, sum] = [self.quant(a.quant)?, self.quant(b.quant)?, self.quant(output.quant)?];
        let limits = self.integer.limits();
        let add = Add::new(self.rounding, left, right, sum, limits).ok_or(InterpError::ScalesApart)?;
        Ok(a.values.iter().zip(b.values).map(|(a, b)| add.apply(*a, *b)).collect())
    }

    /// The mean of all pixels.
    fn average(&self, input: &Image<'_, i32>, output: Tensor) -> Result<Vec<i32>, InterpError> {
        let (from, to) = (self.quant(input.quant)?, self.quant(output.quant)?);
        let pool = Pool::new(self.rounding, self.pool, input.shape.pixels(), from, to, self.integer.limits());
        let pool = pool.ok_or(InterpError::Pool)?;
        let channels = input.shape.channels;
        let mut sums = vec![0_i32; channels];
        for pixel in input.values.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
        }
        Ok(sums.into_iter().map(|sum| pool.apply(sum)).collect())
    }
}

impl Arithmetic for Integers {
    type Number = i32;

    fn apply(&self, op: &Op, inputs: &[Image<'_, i32>], output: Tensor) -> Result<Vec<i32>, InterpError> {
        let [input, rest @ ..] = inputs else { return Ok(Vec::new()) };
        let channels = output.shape.channels;
        let centered = || -> Result<Vec<i32>, InterpError> {
            let zero_point = self.quant(input.quant)?.zero_point();
            Ok(input.values.iter().map(|value| value - zero_point).collect())
        };
        // Requantizes and activates the sums of a layer, then adds the residual.
        let finish = |sums, requantize: ir::Requantize, epilogue: Epilogue| {
            let result = self.requantize(sums, requantize, input, epilogue.activation, channels)?;
            match rest.first() {
                Some(added) if epilogue.residual => {
                    let result = Image { shape: output.shape, quant: Some(requantize.output), values: &result };
                    self.add(&result, added, output)
                }
                _ => Ok(result),
            }
        };
        let layer = |weight, bias: Option<ParamId>| {
            let requantize = op.requantize().ok_or(InterpError::NotQuantized)?;
            let bias = bias.map_or_else(|| vec![0; channels], |bias| self.integers(bias).to_vec());
            Ok::<_, InterpError>((self.weights(weight, requantize), bias, requantize))
        };
        match op {
            Op::Conv2d(conv) => {
                let (weight, bias, requantize) = layer(conv.weight, conv.bias)?;
                let values = centered()?;
                let image = Image { values: &values, ..*input };
                let shape = conv.epilogue.unpooled(output.shape);
                let sums =
                    Convolution { window: conv.window, weight: &weight, bias }.dense(image, shape, Order::Raster);
                let result = finish(sums, requantize, conv.epilogue)?;
                match conv.epilogue.pool {
                    Some(_) => self.average(&Image { shape, quant: Some(requantize.output), values: &result }, output),
                    None => Ok(result),
                }
            }
            Op::DepthwiseConv2d(conv) => {
                let (weight, bias, requantize) = layer(conv.weight, conv.bias)?;
                let values = centered()?;
                let image = Image { values: &values, ..*input };
                let sums = Convolution { window: conv.window, weight: &weight, bias }.depthwise(image, output.shape);
                finish(sums, requantize, conv.epilogue)
            }
            Op::Dense(dense) => {
                let (weight, bias, requantize) = layer(dense.weight, Some(dense.bias))?;
                finish(kernels::dense(&centered()?, &weight, &bias), requantize, Epilogue::default())
            }
            Op::Activation(activation) => {
                let limits = self.limits(self.quant(output.quant)?, Some(*activation));
                Ok(input.values.iter().map(|value| limits.clamp(*value)).collect())
            }
            Op::Add => match rest.first() {
                Some(other) => self.add(input, other, output),
                None => Ok(input.values.to_vec()),
            },
            Op::GlobalAvgPool => self.average(input, output),
            Op::BatchNorm(_) => Err(InterpError::NotQuantized),
            Op::Repack | Op::Input | Op::Fused(_) => Ok(input.values.to_vec()),
        }
    }
}
