//! Translation of one node to source operations.

use std::borrow::Cow;
use std::rc::Rc;

use super::evaluate::{Small, evaluate};
use super::proto;
use super::quantize;
use super::scope::{Layout, Scope, Slot, place};
use super::tensor::{self, Attributes, axis_of, display, non_negative};
use mbvc_runtime::HeadActivation;

use crate::error::{ImportError, Result};
use crate::source::{Arithmetic, BatchNorm, Constant, Conv, Dense, Kernel, Op, Pads, Values, decimal};
use crate::text::{display_shape, shorten};

/// Reads `node` into `scope`.
pub fn read<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let result = if reads_data(scope, node) { operation(scope, node) } else { constant(scope, node) };
    result.map_err(|error| error.at(place(node).text()))
}

/// Whether any input is an activation. An unknown name counts as one; it is reported when it is read.
fn reads_data<'a>(scope: &Scope<'a>, node: &'a proto::Node) -> bool {
    node.input.iter().enumerate().any(|(at, name)| {
        !name.is_empty()
            && !matches!(scope.slot(node, at), Ok(Some(Slot::Stored(_) | Slot::Constant(_) | Slot::Computed)))
    })
}

/// Reads a node over constants. The few operators that exporters leave are folded.
fn constant<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let attributes = Attributes(&node.attribute);
    let slot = match node.op_type.as_str() {
        "Constant" => constant_attribute(attributes)?,
        "Identity" => scope.slot(node, 0)?.unwrap_or(Slot::Computed),
        "Cast" if is_float(attributes.int("to", 0)) => scope.slot(node, 0)?.unwrap_or(Slot::Computed),
        "Transpose" if !matches!(scope.slot(node, 0)?, Some(Slot::Computed)) => transposed(scope, node, attributes)?,
        "QuantizeLinear" => quantize::quantized_constant(scope, node)?,
        "DequantizeLinear" => quantize::dequantized_constant(scope, node)?,
        "Shape" => match scope.slot(node, 0)? {
            Some(Slot::Constant(_) | Slot::Stored(_)) => shape_of(&*scope.required(node, 0)?)?,
            _ => Slot::Computed,
        },
        _ => evaluated(scope, node)?,
    };
    scope.name(node, slot)?;
    for name in node.output.iter().skip(1).filter(|name| !name.is_empty()) {
        scope.bind(name, Slot::Computed)?;
    }
    Ok(())
}

fn shape_of<'a>(constant: &Constant<'_>) -> Result<Slot<'a>> {
    let sizes: Vec<i64> = constant.shape().iter().filter_map(|&size| i64::try_from(size).ok()).collect();
    Ok(Slot::Constant(Rc::new(Constant::new(vec![sizes.len()], Values::I64(sizes.into()))?)))
}

fn evaluated<'a>(scope: &Scope<'a>, node: &'a proto::Node) -> Result<Slot<'a>> {
    let mut inputs = Vec::with_capacity(node.input.len().min(64));
    for at in 0..node.input.len().min(64) {
        inputs.push(match scope.slot(node, at)? {
            Some(Slot::Constant(_) | Slot::Stored(_)) => scope.constant(node, at)?.and_then(|c| Small::of(&c)),
            _ => None,
        });
    }
    Ok(match evaluate(node, &inputs) {
        Some(Small { shape, values }) => Slot::Constant(Rc::new(Constant::new(shape, Values::I64(values.into()))?)),
        None => Slot::Computed,
    })
}

fn constant_attribute(attributes: Attributes<'_>) -> Result<Slot<'_>> {
    let constant = |shape, values| Ok(Slot::Constant(Rc::new(Constant::new(shape, values)?)));
    let Some(attribute) = attributes.0.iter().find(|attribute| attribute.name.starts_with("value")) else {
        return Ok(Slot::Computed);
    };
    match (attribute.name.as_str(), &attribute.t) {
        ("value", Some(tensor)) => Ok(Slot::Constant(Rc::new(tensor::constant(tensor)?))),
        ("value_float", _) => constant(vec![], Values::F32(vec![attribute.f].into())),
        ("value_floats", _) => constant(vec![attribute.floats.len()], Values::F32(Cow::Borrowed(&attribute.floats))),
        ("value_int", _) => constant(vec![], Values::I64(vec![attribute.i].into())),
        ("value_ints", _) => constant(vec![attribute.ints.len()], Values::I64(Cow::Borrowed(&attribute.ints))),
        _ => Ok(Slot::Computed),
    }
}

fn transposed<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Slot<'a>> {
    let input = scope.required(node, 0)?;
    let rank = input.shape().len();
    let order = match attributes.ints("perm") {
        Some(perm) => perm.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect(),
        None => (0..rank).rev().collect::<Vec<_>>(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(ImportError::malformed(format!("perm is not a permutation of {rank} axes")));
    }
    scope.spend(input.len())?;
    Ok(Slot::Constant(Rc::new(input.transposed(&order)?)))
}

fn operation<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let attributes = Attributes(&node.attribute);
    let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
    match node.op_type.as_str() {
        "Relu6" => clamp(scope, node, 0.0, 6.0),
        "FusedConv" if node.domain == "com.microsoft" => fused_conv(scope, node, attributes),
        // Also in com.microsoft, which introduced them for 16 bits.
        "QuantizeLinear" => quantize::quantize(scope, node),
        "DequantizeLinear" => quantize::dequantize(scope, node),
        _ if !standard => other(scope, node, Op::Other),
        "Conv" => {
            let op = conv(scope, node, attributes)?;
            unary(scope, node, op)
        }
        "BatchNormalization" => {
            let op = batch_norm(scope, node, attributes)?;
            unary(scope, node, op)
        }
        "Relu" => clamp(scope, node, 0.0, f64::INFINITY),
        "Clip" => {
            let [low, high] = clip_bounds(scope, node, attributes)?;
            clamp(scope, node, low, high)
        }
        "Add" | "Sum" => binary(scope, node, Arithmetic::Add),
        "Sub" => binary(scope, node, Arithmetic::Subtract),
        "Mul" => binary(scope, node, Arithmetic::Multiply),
        "Div" => binary(scope, node, Arithmetic::Divide),
        "Min" => binary(scope, node, Arithmetic::Minimum),
        "Max" => binary(scope, node, Arithmetic::Maximum),
        "Pad" => pad(scope, node, attributes),
        "GlobalAveragePool" => unary(scope, node, Op::Pool { window: None }),
        "AveragePool" => unary(scope, node, Op::Pool { window: Some(pool_window(attributes)?) }),
        "ReduceMean" => reduce_mean(scope, node, attributes),
        "Gemm" | "MatMul" => dense(scope, node, attributes),
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => {
            let (value, _, numbers) = scope.moved(node)?;
            let flat = scope.push(node, Op::Flatten, vec![value]);
            scope.quants.inherit(flat, value);
            scope.name(node, numbers.of(flat, Layout::Flat))
        }
        "Softmax" => softmax(scope, node, attributes, HeadActivation::Softmax),
        "LogSoftmax" => softmax(scope, node, attributes, HeadActivation::LogSoftmax),
        "Sigmoid" => unary(scope, node, Op::Scores(HeadActivation::Sigmoid)),
        "ArgMax" | "TopK" => other(scope, node, Op::Ranking),
        "Identity" | "Dropout" => alias(scope, node),
        "Cast" if is_float(attributes.int("to", 0)) => cast(scope, node),
        "Transpose" => transpose(scope, node, attributes),
        "Shape" | "Size" => scope.name(node, Slot::Computed),
        _ => other(scope, node, Op::Other),
    }
}

/// Whether a `TensorProto.DataType` is float, float16, double or bfloat16.
fn is_float(data_type: i64) -> bool {
    matches!(data_type, 1 | 10 | 11 | 16)
}

/// Returns axes, or two numbers per axis.
fn axes_of(constant: &Constant<'_>) -> Result<Vec<i64>> {
    const MOST: usize = 16;
    if constant.len() > MOST {
        return Err(ImportError::unsupported(format!("{} values for axes", constant.len()))
            .expected("at most two for each of 4 axes"));
    }
    Ok(constant.to_i64())
}

/// Adds an operation that keeps the layout of its input.
fn unary<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, op: Op<'a>) -> Result<()> {
    let (value, layout) = scope.data(node, 0)?;
    if layout == Layout::Nhwc && matches!(op, Op::Conv(_) | Op::BatchNorm(_) | Op::Pool { .. }) {
        return Err(ImportError::unsupported("the operator expects NCHW and reads an NHWC image")
            .help("export the model again; a transpose seems to be missing"));
    }
    scope.emit(node, op, vec![value], layout)
}

/// A softmax over the classes. Before opset 13, all axes from `axis` on are normalized together.
fn softmax<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    attributes: Attributes<'a>,
    activation: HeadActivation,
) -> Result<()> {
    let joined = scope.opset < 13;
    let axis = attributes.int("axis", if joined { 1 } else { -1 });
    let (_, layout) = scope.data(node, 0)?;
    let classes: &[i64] = match (layout, joined) {
        (Layout::Flat, _) => &[1, -1],
        (Layout::Nchw, _) => &[1, -3],
        (Layout::Nhwc, true) => &[1, 3, -1, -3],
        (Layout::Nhwc, false) => &[3, -1],
    };
    if !classes.contains(&axis) {
        return Err(ImportError::unsupported("the softmax is not over the classes")
            .expected(format!("axis {}", classes[0]))
            .found(format!("axis {axis}")));
    }
    unary(scope, node, Op::Scores(activation))
}

fn alias<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let (_, _, numbers) = scope.moved(node)?;
    scope.name(node, numbers)?;
    // The mask of Dropout.
    for name in node.output.iter().skip(1).filter(|name| !name.is_empty()) {
        scope.bind(name, Slot::Computed)?;
    }
    Ok(())
}

/// Translates a cast to float. Of integers, only the model's input (pixels) is supported.
fn cast<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    if let Some(Slot::Integers { value, layout, quantization: None, .. }) = scope.slot(node, 0)? {
        return scope.name(node, Slot::Data { value, layout });
    }
    alias(scope, node)
}

/// Adds an operation of which only the inputs are known.
fn other<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, op: Op<'a>) -> Result<()> {
    let mut inputs = Vec::new();
    let mut layout = Layout::Nchw;
    for at in 0..node.input.len() {
        if let Some(Slot::Data { value, layout: of_input } | Slot::Integers { value, layout: of_input, .. }) =
            scope.slot(node, at)?
        {
            inputs.push(value);
            layout = of_input;
        }
    }
    let value = scope.push(node, op, inputs);
    for name in node.output.iter().filter(|name| !name.is_empty()) {
        scope.bind(name, Slot::Data { value, layout })?;
    }
    Ok(())
}

fn conv<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Op<'a>> {
    let weight = scope.required(node, 1)?;
    let &[_, _, height, width] = weight.shape() else {
        return Err(ImportError::unsupported("expected 4 dimensions of the weight, [out, in, height, width]")
            .found(format!("{} dimensions", weight.shape().len())));
    };
    if let Some(kernel) = attributes.ints("kernel_shape")
        && non_negative(kernel, "kernel_shape")? != [height, width]
    {
        return Err(ImportError::malformed("kernel_shape does not match the weight")
            .expected(format!("[{height}, {width}]"))
            .found(display(kernel)));
    }
    let pads = match attributes.string("auto_pad").as_deref() {
        None | Some("NOTSET" | "") => Pads::Explicit(attributes.pads()?),
        Some("VALID") => Pads::Explicit([0; 4]),
        Some("SAME_UPPER") => Pads::Same,
        Some("SAME_LOWER") => Pads::SameLower,
        Some(other) => return Err(ImportError::malformed(format!("auto_pad is '{}'", shorten(other)))),
    };
    let groups = attributes.int("group", 1);
    Ok(Op::Conv(Conv {
        kernel: Kernel { constant: weight, order: vec![2, 3, 1, 0], scale: 1.0 },
        bias: scope.constant(node, 2)?,
        groups: usize::try_from(groups).map_err(|_| ImportError::malformed(format!("group is {groups}")))?,
        stride: attributes.pair("strides")?,
        dilation: attributes.pair("dilations")?,
        pads,
    }))
}

/// Translates ONNX Runtime's convolution with activation, which its offline optimization writes.
fn fused_conv<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (input, layout) = scope.data(node, 0)?;
    let op = conv(scope, node, attributes)?;
    if scope.slot(node, 3)?.is_some() {
        return other(scope, node, Op::Other);
    }
    let convolved = scope.push(node, op, vec![input]);
    let params = attributes.get("activation_params").map_or(&[][..], |attribute| &attribute.floats);
    let [low, high] = match (attributes.string("activation").as_deref(), params) {
        (Some("Relu"), _) => [0.0, f64::INFINITY],
        (Some("Clip"), &[low, high]) => [bound(low), bound(high)],
        (name, _) => {
            return Err(ImportError::unsupported(format!("the fused activation is {}", name.unwrap_or("missing")))
                .expected("Relu or Clip"));
        }
    };
    scope.emit(node, Op::Clamp { low, high }, vec![convolved], layout)
}

fn batch_norm<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Op<'a>> {
    if attributes.int("training_mode", 0) != 0 {
        return Err(ImportError::unsupported("the batch normalization is in training mode")
            .help("export the model in evaluation mode (`model.eval()`)"));
    }
    let epsilon = attributes.float("epsilon", 1e-5);
    Ok(Op::BatchNorm(BatchNorm {
        gamma: scope.required(node, 1)?,
        beta: scope.required(node, 2)?,
        mean: scope.required(node, 3)?,
        variance: scope.required(node, 4)?,
        epsilon: decimal(epsilon),
    }))
}

fn clamp<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, low: f64, high: f64) -> Result<()> {
    unary(scope, node, Op::Clamp { low, high })
}

/// Converts the largest float, which exporters write for "no bound", to infinity.
fn bound(value: f32) -> f64 {
    if value.abs() >= f32::MAX { f64::from(value.signum()) * f64::INFINITY } else { f64::from(value) }
}

/// Returns the bounds of Clip: attributes before opset 11, inputs since.
fn clip_bounds<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<[f64; 2]> {
    if scope.opset < 11 {
        return Ok([bound(attributes.float("min", f32::MIN)), bound(attributes.float("max", f32::MAX))]);
    }
    let mut bounds = [f64::NEG_INFINITY, f64::INFINITY];
    for (slot, at) in bounds.iter_mut().zip(1..) {
        if let Some(constant) = scope.constant(node, at)? {
            let value =
                constant.scalar().ok_or_else(|| ImportError::malformed(format!("input {at} is not a scalar")))?;
            *slot = bound(value as f32);
        }
    }
    Ok(bounds)
}

/// Translates arithmetic of two values, or of a value and a constant.
fn binary<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, operator: Arithmetic) -> Result<()> {
    let is_data = |at| -> Result<bool> { Ok(matches!(scope.slot(node, at)?, Some(Slot::Data { .. }))) };
    let (data, constant_at) = match (node.input.len(), is_data(0)?, is_data(1)?) {
        (2, true, true) if operator == Arithmetic::Add => {
            let ((left, layout), (right, _)) = (scope.data(node, 0)?, scope.data(node, 1)?);
            return scope.emit(node, Op::Add, vec![left, right], layout);
        }
        (2, true, false) => (0, 1),
        (2, false, true) if operator != Arithmetic::Divide => (1, 0),
        _ => return other(scope, node, Op::Other),
    };
    let (value, layout) = scope.data(node, data)?;
    let constant = scope.required(node, constant_at)?;
    // A factor and an offset.
    scope.spend(constant.len().saturating_mul(2))?;
    let numbers = per_channel(&constant, layout)?;
    scope.emit(node, Op::with_constant(operator, numbers, data == 1), vec![value], layout)
}

/// Returns a constant that broadcasts over channels: one number, or one per channel.
fn per_channel(constant: &Constant<'_>, layout: Layout) -> Result<Vec<f64>> {
    let leading = constant.shape().iter().take_while(|&&size| size == 1).count();
    let fits = matches!(
        (&constant.shape()[leading..], layout),
        ([], _) | ([_, 1, 1], Layout::Nchw) | ([_], Layout::Nhwc) | ([_] | [_, 1, 1], Layout::Flat)
    );
    if !fits {
        return Err(ImportError::unsupported("the constant operand is not one number per channel")
            .found(display_shape(constant.shape())));
    }
    Ok(constant.to_f64())
}

fn pad<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, layout) = scope.data(node, 0)?;
    if !matches!(attributes.string("mode").as_deref(), None | Some("constant")) {
        return other(scope, node, Op::Other);
    }
    let (pads, fill) = if scope.opset < 11 {
        (attributes.ints("pads").unwrap_or(&[]).to_vec(), f64::from(attributes.float("value", 0.0)))
    } else {
        let fill = scope.constant(node, 2)?.map_or(Some(0.0), |fill| fill.scalar());
        (axes_of(&*scope.required(node, 1)?)?, fill.unwrap_or(f64::NAN))
    };
    if fill != 0.0 {
        return Err(ImportError::unsupported(format!("the image is padded with {fill}")).expected("zeros"));
    }
    let axes = match scope.constant(node, 3)? {
        Some(axes) => axes_of(&axes)?,
        None => vec![0, 1, 2, 3],
    };
    // Starts of all axes, then ends.
    let bad = || ImportError::unsupported(format!("pads are {}", display(&pads)));
    if pads.len() != axes.len() * 2 {
        return Err(bad().expected(format!("{} values", axes.len() * 2)));
    }
    let (begins, ends) = pads.split_at(axes.len());
    let rows_at = if layout == Layout::Nhwc { 1 } else { 2 };
    let mut sides = [0; 4];
    for ((&axis, &begin), &end) in axes.iter().zip(begins).zip(ends) {
        let axis = axis_of(axis, 4).ok_or_else(bad)?;
        let [begin, end] = non_negative(&[begin, end], "pads")?;
        if axis == rows_at {
            [sides[0], sides[2]] = [begin, end];
        } else if axis == rows_at + 1 {
            [sides[1], sides[3]] = [begin, end];
        } else if [begin, end] != [0, 0] {
            return Err(bad().expected("padding of height and width only"));
        }
    }
    scope.emit(node, Op::Pad(sides), vec![value], layout)
}

fn pool_window(attributes: Attributes<'_>) -> Result<[usize; 2]> {
    let auto_pad = attributes.string("auto_pad");
    if attributes.pads()? != [0; 4] || !matches!(auto_pad.as_deref(), None | Some("NOTSET" | "VALID")) {
        return Err(ImportError::unsupported("the average pool is padded").expected("no padding"));
    }
    attributes.pair("kernel_shape")
}

fn reduce_mean<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, layout) = scope.data(node, 0)?;
    let axes = match attributes.ints("axes") {
        Some(axes) => axes.to_vec(),
        None => scope.constant(node, 1)?.map_or(Ok(vec![]), |axes| axes_of(&axes))?,
    };
    let mut spatial: Vec<_> = axes.iter().filter_map(|&axis| axis_of(axis, 4)).collect();
    spatial.sort_unstable();
    let expected = if layout == Layout::Nhwc { [1, 2] } else { [2, 3] };
    if spatial != expected || axes.len() != 2 {
        return Err(ImportError::unsupported("the mean is not over height and width")
            .expected(format!("axes {expected:?}"))
            .found(format!("axes {}", display(&axes))));
    }
    // An image of one pixel has no layout.
    scope.emit(node, Op::Pool { window: None }, vec![value], Layout::Flat)
}

fn dense<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, _) = scope.data(node, 0)?;
    let weight = scope.required(node, 1)?;
    if weight.shape().len() != 2 {
        return Err(ImportError::unsupported("the weight is not a matrix")
            .expected("2 dimensions")
            .found(display_shape(weight.shape())));
    }
    let (order, scale, bias) = if node.op_type == "Gemm" {
        if attributes.int("transA", 0) != 0 {
            return Err(ImportError::unsupported("transA is set").expected("transA = 0"));
        }
        let bias = scope.constant(node, 2)?;
        let beta = attributes.float("beta", 1.0);
        if bias.is_some() && beta != 1.0 {
            return Err(ImportError::unsupported(format!("beta is {beta}")).expected("beta = 1"));
        }
        let order = if attributes.int("transB", 0) == 0 { vec![0, 1] } else { vec![1, 0] };
        (order, f64::from(attributes.float("alpha", 1.0)), bias)
    } else {
        (vec![0, 1], 1.0, None)
    };
    let kernel = Kernel { constant: weight, order, scale };
    scope.emit(node, Op::Dense(Dense { kernel, bias }), vec![value], Layout::Flat)
}

fn transpose<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, layout, numbers) = scope.moved(node)?;
    let layout = match (layout, attributes.ints("perm")) {
        (Layout::Nhwc, Some([0, 3, 1, 2])) => Layout::Nchw,
        (Layout::Nchw, Some([0, 2, 3, 1])) => Layout::Nhwc,
        (Layout::Flat, Some([0, ..])) => Layout::Flat,
        _ => return other(scope, node, Op::Other),
    };
    scope.name(node, numbers.of(value, layout))
}
