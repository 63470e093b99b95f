//! Translation of one node of a graph model to source operations. Images are NHWC.
//!
//! The operators are those of TensorFlow
//! (<https://www.tensorflow.org/api_docs/python/tf/raw_ops>) and the fused ones that its graph optimizer writes.

use mbvc_runtime::HeadActivation;

use super::node::Node;
use super::scope::{Scope, Slot};
use crate::error::{ImportError, Result};
use crate::source::{Affine, Arithmetic, BatchNorm, Conv, Dense, Kernel, Op, Pads, Value, decimal};
use crate::text::{display_shape, shorten};

const CONVOLUTION: [&str; 7] =
    ["strides", "padding", "dilations", "explicit_paddings", "data_format", "fused_ops", "epsilon"];

/// One node and its inputs.
struct Call<'n, 'a> {
    node: &'n Node<'a>,
    inputs: Vec<Slot>,
}

/// Reads `node` into `scope`.
pub fn read<'a>(scope: &mut Scope<'a>, node: &Node<'a>) -> Result<Slot> {
    let inputs = node.inputs()?.into_iter().map(|input| scope.slot(input)).collect::<Result<Vec<_>>>()?;
    let has_data = inputs.iter().any(|slot| matches!(slot, Slot::Data(_)));
    let call = Call { node, inputs };
    if has_data { operation(scope, &call) } else { constant(scope, &call) }
}

/// Reads a node over constants and shapes.
fn constant<'a>(scope: &Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    match (call.node.operator, call.inputs.as_slice()) {
        ("Const", _) => match scope.tensors.number(call.node.name) {
            Some(number) => Ok(Slot::Constant(number)),
            None => Err(ImportError::malformed("the weights manifest has no tensor of this name")
                .help("the file may be damaged; convert the model again")),
        },
        ("Identity" | "Cast", [input]) => Ok(input.clone()),
        ("Pack", inputs) if matches!(call.node.integer("axis")?, None | Some(0)) => {
            let size = |slot: &Slot| match slot {
                Slot::Constant(_) => Ok(scope.constant(slot)?.scalar().map(|size| size as i64)),
                _ => Ok(None),
            };
            inputs.iter().map(size).collect::<Result<_>>().map(Slot::Sizes)
        }
        _ => Ok(Slot::Computed),
    }
}

fn operation<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let known = |names: &[&str]| call.node.check_attributes(names);
    match call.node.operator {
        "Conv2D" | "_FusedConv2D" => known(&CONVOLUTION).and_then(|()| conv(scope, call)),
        "DepthwiseConv2dNative" | "FusedDepthwiseConv2dNative" => {
            known(&CONVOLUTION).and_then(|()| depthwise(scope, call))
        }
        "MatMul" | "_FusedMatMul" => {
            known(&["transpose_a", "transpose_b", "fused_ops", "epsilon"]).and_then(|()| dense(scope, call))
        }
        "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => {
            known(&["epsilon", "data_format", "is_training"]).and_then(|()| batch_norm(scope, call))
        }
        "BiasAdd" => known(&["data_format"]).and_then(|()| bias_add(scope, call)),
        "Add" | "AddV2" | "Sub" | "Mul" | "RealDiv" | "Div" | "Minimum" | "Maximum" => {
            known(&[]).and_then(|()| binary(scope, call))
        }
        "Relu" => known(&[]).and_then(|()| unary(scope, call, Op::Clamp { low: 0.0, high: f64::INFINITY })),
        "Relu6" => known(&[]).and_then(|()| unary(scope, call, Op::Clamp { low: 0.0, high: 6.0 })),
        "ClipByValue" => known(&[]).and_then(|()| clip(scope, call)),
        "Pad" | "PadV2" => known(&[]).and_then(|()| pad(scope, call)),
        "AvgPool" => known(&["ksize", "strides", "padding", "data_format"]).and_then(|()| average_pool(scope, call)),
        "Mean" => known(&["keep_dims"]).and_then(|()| mean(scope, call)),
        "Reshape" => known(&[]).and_then(|()| reshape(scope, call)),
        "Squeeze" => known(&["squeeze_dims"]).and_then(|()| unary(scope, call, Op::Flatten)),
        "Softmax" => known(&[]).and_then(|()| unary(scope, call, Op::Scores(HeadActivation::Softmax))),
        "LogSoftmax" => known(&[]).and_then(|()| unary(scope, call, Op::Scores(HeadActivation::LogSoftmax))),
        "Sigmoid" => known(&[]).and_then(|()| unary(scope, call, Op::Scores(HeadActivation::Sigmoid))),
        "ConcatV2" => known(&["N"]).and_then(|()| concatenation(scope, call)),
        "Tile" => known(&["Tmultiples"]).and_then(|()| tile(scope, call)),
        "ArgMax" | "TopKV2" => unary(scope, call, Op::Ranking),
        "Identity" | "StopGradient" | "PreventGradient" | "Snapshot" => Ok(Slot::Data(call.value()?)),
        "Cast" if call.node.element_type("DstT")? == Some("DT_FLOAT") => Ok(Slot::Data(call.value()?)),
        "Shape" => Ok(Slot::Shape(scope.channels(call.value()?))),
        _ => other(scope, call),
    }
}

impl Call<'_, '_> {
    fn input(&self, at: usize) -> Result<&Slot> {
        self.inputs.get(at).ok_or_else(|| ImportError::malformed(format!("input {at} is missing")))
    }

    /// Returns the first input, an activation.
    fn value(&self) -> Result<Value> {
        match self.input(0)? {
            Slot::Data(value) => Ok(*value),
            _ => Err(ImportError::unsupported("the first input is not an activation")),
        }
    }
}

/// Adds an operation that is not part of the family; it is reported when it is found in the network.
fn other<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let mut values = Vec::new();
    for input in &call.inputs {
        match input {
            Slot::Data(value) => values.push(*value),
            Slot::Constant(number) => scope.tensors.mark(*number),
            Slot::Shape(_) | Slot::Sizes(_) | Slot::Computed => {}
        }
    }
    scope.push(call.node, Op::Other, values).map(Slot::Data)
}

fn unary<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>, op: Op<'a>) -> Result<Slot> {
    let value = call.value()?;
    scope.push(call.node, op, vec![value]).map(Slot::Data)
}

/// Checks the order of the axes, which TensorFlow.js supports in one form.
fn check_layout(node: &Node<'_>) -> Result<()> {
    match node.text("data_format")?.as_deref() {
        None | Some("nhwc") => Ok(()),
        Some(other) => Err(ImportError::unsupported("unsupported order of the axes")
            .expected("data_format NHWC")
            .found(shorten(other))),
    }
}

/// Reads four numbers for the axes of NHWC, of which only height and width may differ from 1.
fn spatial(node: &Node<'_>, key: &str) -> Result<Option<[usize; 2]>> {
    let Some(numbers) = node.integers(key)? else { return Ok(None) };
    let size = |number: i64| usize::try_from(number).ok().filter(|&size| size > 0);
    match numbers.as_slice() {
        &[1, height, width, 1] if let (Some(height), Some(width)) = (size(height), size(width)) => {
            Ok(Some([height, width]))
        }
        _ => Err(ImportError::unsupported(format!("unsupported {key}"))
            .expected("[1, height, width, 1]")
            .found(format!("{numbers:?}"))),
    }
}

fn pads(node: &Node<'_>) -> Result<Pads> {
    match node.text("padding")?.as_deref() {
        Some("same") => Ok(Pads::Same),
        Some("valid") => Ok(Pads::Explicit([0; 4])),
        Some("explicit") => {
            let sides = node.integers("explicit_paddings")?.unwrap_or_default();
            sides_of(&sides).map(Pads::Explicit)
        }
        other => Err(ImportError::unsupported("unsupported padding")
            .expected("SAME, VALID or EXPLICIT")
            .found(other.map_or("nothing".into(), shorten))),
    }
}

/// Paddings before and after each axis of NHWC, as top, left, bottom, right.
fn sides_of(paddings: &[i64]) -> Result<[usize; 4]> {
    let sides = match *paddings {
        [0, 0, top, bottom, left, right, 0, 0] => [top, left, bottom, right].map(|side| usize::try_from(side).ok()),
        _ => [None; 4],
    };
    let [Some(top), Some(left), Some(bottom), Some(right)] = sides else {
        return Err(
            ImportError::unsupported("the padding is not limited to height and width").found(format!("{paddings:?}"))
        );
    };
    Ok([top, left, bottom, right])
}

/// The operations that follow a fused one: an addition of a bias, and bounds of an activation.
struct Fused {
    has_bias: bool,
    bounds: Option<[f64; 2]>,
}

impl Fused {
    fn of(call: &Call<'_, '_>) -> Result<Self> {
        let names = call.node.texts("fused_ops")?.unwrap_or_default();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (has_bias, bounds) = match names.as_slice() {
            [] => (false, None),
            ["biasadd"] => (true, None),
            ["biasadd", "relu"] => (true, Some([0.0, f64::INFINITY])),
            ["biasadd", "relu6"] => (true, Some([0.0, 6.0])),
            other => {
                return Err(ImportError::unsupported(format!(
                    "the fused operations are {}",
                    shorten(&other.join(", "))
                ))
                .expected("BiasAdd, and Relu6 or Relu"));
            }
        };
        let expected = if has_bias { 3 } else { 2 };
        if call.inputs.len() != expected {
            return Err(ImportError::unsupported(format!("the operator has {} inputs", call.inputs.len()))
                .expected(expected.to_string()));
        }
        Ok(Self { has_bias, bounds })
    }

    /// Adds `op` and its activation.
    fn push<'a>(self, scope: &mut Scope<'a>, call: &Call<'_, 'a>, op: Op<'a>) -> Result<Slot> {
        let mut value = scope.push(call.node, op, vec![call.value()?])?;
        if let Some([low, high]) = self.bounds {
            value = scope.push(call.node, Op::Clamp { low, high }, vec![value])?;
        }
        Ok(Slot::Data(value))
    }
}

fn kernel<'a>(scope: &Scope<'a>, call: &Call<'_, 'a>, order: &[usize], expected: &str) -> Result<Kernel<'a>> {
    let constant = scope.constant(call.input(1)?)?;
    if constant.shape().len() != order.len() {
        return Err(ImportError::unsupported(format!("expected {} dimensions of the weight", order.len()))
            .expected(expected)
            .found(display_shape(constant.shape())));
    }
    Ok(Kernel { constant, order: order.to_vec(), scale: 1.0 })
}

/// Weights are `[height, width, in, out]`.
fn conv<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let kernel = kernel(scope, call, &[0, 1, 2, 3], "[height, width, in, out]")?;
    convolution(scope, call, kernel, 1)
}

/// Weights are `[height, width, channels, multiplier]`.
fn depthwise<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let kernel = kernel(scope, call, &[0, 1, 3, 2], "[height, width, channels, 1]")?;
    let &[_, _, multiplier, channels] = kernel.shape().as_slice() else {
        return Err(ImportError::malformed("expected 4 dimensions of the weight"));
    };
    if multiplier != 1 {
        return Err(ImportError::unsupported(format!("the depth multiplier is {multiplier}")).expected("1"));
    }
    convolution(scope, call, kernel, channels)
}

fn convolution<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>, kernel: Kernel<'a>, groups: usize) -> Result<Slot> {
    check_layout(call.node)?;
    let fused = Fused::of(call)?;
    let stride = spatial(call.node, "strides")?.ok_or_else(|| ImportError::malformed("the strides are missing"))?;
    let bias = if fused.has_bias { Some(scope.constant(call.input(2)?)?) } else { None };
    let op = Op::Conv(Conv {
        kernel,
        bias,
        groups,
        stride,
        dilation: spatial(call.node, "dilations")?.unwrap_or([1, 1]),
        pads: pads(call.node)?,
    });
    fused.push(scope, call, op)
}

/// Weights are `[in, out]`.
fn dense<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    if call.node.flag("transpose_a")?.unwrap_or(false) {
        return Err(ImportError::unsupported("transpose_a is set").expected("false"));
    }
    let fused = Fused::of(call)?;
    let order: &[usize] = if call.node.flag("transpose_b")?.unwrap_or(false) { &[1, 0] } else { &[0, 1] };
    let kernel = kernel(scope, call, order, "[in, out]")?;
    let bias = if fused.has_bias { Some(scope.constant(call.input(2)?)?) } else { None };
    fused.push(scope, call, Op::Dense(Dense { kernel, bias }))
}

fn batch_norm<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    check_layout(call.node)?;
    if call.node.flag("is_training")? == Some(true) {
        return Err(ImportError::unsupported("the batch normalization is in training mode")
            .help("export the model for inference"));
    }
    // TensorFlow and TensorFlow.js have different defaults.
    let epsilon = call.node.float("epsilon")?.ok_or_else(|| ImportError::malformed("the epsilon is missing"))?;
    let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|at| scope.constant(call.input(at)?));
    let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
    unary(scope, call, Op::BatchNorm(BatchNorm { gamma, beta, mean, variance, epsilon: decimal(epsilon as f32) }))
}

fn bias_add<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    check_layout(call.node)?;
    let numbers = numbers(scope, call.input(1)?)?;
    unary(scope, call, Op::Affine(Affine::shifting(numbers)))
}

/// Returns one number, or one per channel.
fn numbers(scope: &Scope<'_>, slot: &Slot) -> Result<Vec<f64>> {
    let constant = scope.constant(slot)?;
    if !constant.is_real() {
        return Err(ImportError::unsupported("the constant operand is an integer").expected("floats"));
    }
    // A factor and an offset.
    scope.tensors.charge(constant.len().saturating_mul(2 * size_of::<f64>()))?;
    constant.per_channel()
}

/// Arithmetic of two values, or of a value and a constant with one number per channel.
fn binary<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let operator = match call.node.operator {
        "Add" | "AddV2" => Arithmetic::Add,
        "Sub" => Arithmetic::Subtract,
        "Mul" => Arithmetic::Multiply,
        "RealDiv" | "Div" => Arithmetic::Divide,
        "Minimum" => Arithmetic::Minimum,
        "Maximum" => Arithmetic::Maximum,
        _ => return other(scope, call),
    };
    let (value, constant, swapped) = match call.inputs.as_slice() {
        &[Slot::Data(left), Slot::Data(right)] if operator == Arithmetic::Add => {
            return scope.push(call.node, Op::Add, vec![left, right]).map(Slot::Data);
        }
        [Slot::Data(value), constant @ Slot::Constant(_)] => (*value, constant, false),
        [constant @ Slot::Constant(_), Slot::Data(value)] => (*value, constant, true),
        _ => return other(scope, call),
    };
    let op = Op::with_constant(operator, numbers(scope, constant)?, swapped);
    scope.push(call.node, op, vec![value]).map(Slot::Data)
}

fn clip<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let bound = |at| {
        let constant = scope.constant(call.input(at)?)?;
        constant.scalar().ok_or_else(|| ImportError::unsupported(format!("input {at} is not one number")))
    };
    let (low, high) = (bound(1)?, bound(2)?);
    unary(scope, call, Op::Clamp { low, high })
}

fn pad<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    if let Some(fill) = call.inputs.get(2)
        && scope.constant(fill)?.scalar() != Some(0.0)
    {
        return Err(ImportError::unsupported("the padding value is not zero"));
    }
    let sides = sides_of(&scope.integers(call.input(1)?)?)?;
    unary(scope, call, Op::Pad(sides))
}

fn average_pool<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    check_layout(call.node)?;
    let (window, stride) = (spatial(call.node, "ksize")?, spatial(call.node, "strides")?);
    let window = window.ok_or_else(|| ImportError::malformed("the window is missing"))?;
    // SAME adds no padding if the windows tile the image.
    if pads(call.node)? != Pads::Explicit([0; 4]) && stride != Some(window) {
        return Err(ImportError::unsupported("the average pool is padded").expected("VALID padding"));
    }
    unary(scope, call, Op::Pool { window: Some(window) })
}

fn mean<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let axes = scope.integers(call.input(1)?)?;
    let mut spatial: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis.saturating_add(4) } else { axis }).collect();
    spatial.sort_unstable();
    if spatial != [1, 2] {
        return Err(ImportError::unsupported("the mean is not over height and width")
            .expected("axes [1, 2]")
            .found(format!("axes {axes:?}")));
    }
    unary(scope, call, Op::Pool { window: None })
}

/// Copies of one image along the channels; any other concatenation is not an operation of MobileNetV2.
fn concatenation<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let Some((axis, images)) = call.inputs.split_last() else { return other(scope, call) };
    let is_copied = images.iter().all(|image| matches!(image, Slot::Data(_)) && Some(image) == images.first());
    match (is_copied, axis) {
        (true, Slot::Constant(_)) if matches!(*scope.integers(axis)?, [-1 | 3]) => {
            unary(scope, call, Op::Repeat { channels: images.len() })
        }
        _ => other(scope, call),
    }
}

/// Copies of an image along the channels.
fn tile<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    match *scope.integers(call.input(1)?)? {
        [1, 1, 1, 3] => unary(scope, call, Op::Repeat { channels: 3 }),
        _ => other(scope, call),
    }
}

/// A reshape that keeps the channels last: `[-1, C]`, `[N, 1, 1, C]`, or the shape of another value.
fn reshape<'a>(scope: &mut Scope<'a>, call: &Call<'_, 'a>) -> Result<Slot> {
    let value = call.value()?;
    let sizes: Vec<Option<i64>> = match call.input(1)? {
        Slot::Sizes(sizes) => sizes.clone(),
        // The channels of every value are its last axis.
        Slot::Shape(Some(channels)) => vec![None, i64::try_from(*channels).ok()],
        target => scope.integers(target)?.into_iter().map(Some).collect(),
    };
    let op = Op::reshape(&sizes, scope.channels(value))?;
    unary(scope, call, op)
}
