//! Translation of one node to source operations.

use std::borrow::Cow;
use std::rc::Rc;

use mbvc_runtime::HeadActivation;

use super::evaluate::{Small, evaluate};
use super::scope::{Axes, Scope, Slot, place};
use super::tensor::{self, Attributes, axis_of, display, non_negative};
use super::{cast, copies, layers, mean, proto, qlinear, quantize, reshape, reverse};
use crate::error::{ImportError, Result};
use crate::source::{Arithmetic, Constant, DType, Op, Values};
use crate::text::{display_shape, shorten};

/// Reads `node` into `scope`.
pub fn read<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let result = if reads_data(scope, node) { operation(scope, node) } else { constant(scope, node) };
    result.map_err(|error| error.at(place(node).text()))
}

/// Whether any input, or value that a subgraph captures, is an activation. An unknown name of an input counts as one; it is
/// reported when it is read.
fn reads_data<'a>(scope: &Scope<'a>, node: &'a proto::Node) -> bool {
    let is_data = node.input.iter().enumerate().any(|(at, name)| {
        !name.is_empty()
            && !matches!(
                scope.slot(node, at),
                Ok(Some(Slot::Stored(_) | Slot::Constant(_) | Slot::Sizes(_) | Slot::Computed))
            )
    });
    is_data || !scope.captured(node).is_empty()
}

/// Reads a node over constants. The few operators that exporters leave are folded.
fn constant<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let attributes = Attributes(&node.attribute);
    let slot = match node.op_type.as_str() {
        _ if !is_known_domain(node) => Slot::Computed,
        "Constant" => constant_attribute(attributes)?,
        "Identity" => scope.slot(node, 0)?.unwrap_or(Slot::Computed),
        "Cast" if is_float(attributes.int("to", 0)) => cast::constant(scope, node, attributes.int("to", 0))?,
        "Transpose" if !matches!(scope.slot(node, 0)?, Some(Slot::Sizes(_) | Slot::Computed)) => {
            transposed(scope, node, attributes)?
        }
        "Gather" if attributes.int("axis", 0) == 0 => match (scope.slot(node, 0)?, scope.known(node, 1)?) {
            (Some(Slot::Sizes(sizes)), Some(indices)) => reshape::gathered(&sizes, &indices)?,
            _ => evaluated(scope, node)?,
        },
        "QuantizeLinear" => quantize::quantized_constant(scope, node)?,
        "DequantizeLinear" => quantize::dequantized_constant(scope, node)?,
        "Shape" => match scope.known(node, 0)? {
            Some(constant) => shape_of(&constant)?,
            None => Slot::Computed,
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
        // Integers; a cast truncates floats to them.
        let constant = scope.known(node, at)?.filter(|constant| !constant.is_real() || node.op_type == "Cast");
        inputs.push(constant.and_then(|constant| Small::of(&constant)));
    }
    Ok(match evaluate(node, &inputs) {
        Some(Small { shape, values }) => Slot::Constant(Rc::new(Constant::new(shape, Values::I64(values.into()))?)),
        None => Slot::Computed,
    })
}

fn constant_attribute(attributes: Attributes<'_>) -> Result<Slot<'_>> {
    let constant = |shape, values| Ok(Slot::Constant(Rc::new(Constant::new(shape, values)?)));
    if attributes.get("sparse_value").is_some() {
        return Err(ImportError::unsupported("the constant is a sparse tensor")
            .expected("a dense tensor")
            .help("store it as a dense initializer"));
    }
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
    check_inputs(node)?;
    let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
    match node.op_type.as_str() {
        "DynamicQuantizeLinear" | "ConvInteger" | "MatMulInteger" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat"
            if is_known_domain(node) =>
        {
            Err(ImportError::unsupported("the model is dynamically quantized: its scales are computed at run time")
                .expected("a float32 model, or one with a fixed range for each value")
                .help(
                    "import the float32 model, and quantize it with `mbvc quantize` or with \
                     `onnxruntime.quantization.quantize_static`",
                ))
        }
        "Relu6" if standard => layers::clamp(scope, node, 0.0, 6.0),
        "FusedConv" if node.domain == "com.microsoft" => layers::fused_conv(scope, node),
        "FusedGemm" if node.domain == "com.microsoft" => layers::float_dense(scope, node, attributes),
        // Also in com.microsoft, which introduced them for 16 bits.
        "QuantizeLinear" if is_known_domain(node) => quantize::quantize(scope, node),
        "DequantizeLinear" if is_known_domain(node) => quantize::dequantize(scope, node),
        _ if qlinear::is_operator(node) => qlinear::read(scope, node, attributes),
        other if node.domain.starts_with("com.microsoft") && !other.starts_with("QLinear") => {
            Err(ImportError::unsupported(format!("unsupported ONNX Runtime operator, domain {}", shorten(&node.domain)))
                .help(
                    "import the original file, before ONNX Runtime optimized it, or optimize with `ORT_ENABLE_BASIC`, which uses operators of \
                     ONNX",
                ))
        }
        _ if !standard => scope.other(node, Op::Other),
        "Conv" => {
            let (value, axes) = layers::float_conv(scope, node)?;
            scope.name(node, Slot::Data { value, axes })
        }
        "BatchNormalization" => layers::batch_norm(scope, node, attributes),
        "Relu" => layers::clamp(scope, node, 0.0, f64::INFINITY),
        "Clip" => {
            let [low, high] = clip_bounds(scope, node, attributes)?;
            layers::clamp(scope, node, low, high)
        }
        "Add" | "Sum" => binary(scope, node, Arithmetic::Add),
        "Sub" => binary(scope, node, Arithmetic::Subtract),
        "Mul" => binary(scope, node, Arithmetic::Multiply),
        "Div" => binary(scope, node, Arithmetic::Divide),
        "Min" => binary(scope, node, Arithmetic::Minimum),
        "Max" => binary(scope, node, Arithmetic::Maximum),
        "Pad" => pad(scope, node, attributes),
        "GlobalAveragePool" => layers::pool(scope, node, None),
        "AveragePool" => layers::pool(scope, node, Some(layers::pool_window(attributes)?)),
        "ReduceMean" => mean::reduce_mean(scope, node, attributes),
        "Gemm" | "MatMul" => layers::float_dense(scope, node, attributes),
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => reshape::reshape(scope, node, attributes),
        "Concat" | "Expand" | "Tile" => match copies::channels(scope, node, attributes)? {
            // PyTorch exports `repeat` as an Expand to the same sizes, and a Tile.
            Some(1) => alias(scope, node),
            Some(channels) => {
                let axes = scope.moved(node)?.1.with_channels(channels);
                moved(scope, node, Op::Repeat { channels }, axes)
            }
            None => scope.other(node, Op::Other),
        },
        "Gather" | "Slice" if reverse::is_reversal(scope, node, attributes)? => {
            let axes = scope.moved(node)?.1;
            moved(scope, node, Op::ReverseChannels, axes)
        }
        "Softmax" => softmax(scope, node, attributes, HeadActivation::Softmax),
        "LogSoftmax" => softmax(scope, node, attributes, HeadActivation::LogSoftmax),
        "Sigmoid" => scope.unary(node, Op::Scores(HeadActivation::Sigmoid)),
        "ArgMax" | "TopK" => scope.other(node, Op::Ranking),
        "Identity" | "Dropout" => alias(scope, node),
        "Cast" if is_float(attributes.int("to", 0)) => cast(scope, node),
        "Transpose" => reshape::transpose(scope, node, attributes),
        "Shape" => reshape::shape(scope, node, attributes),
        "Size" => scope.name(node, Slot::Computed),
        _ => scope.other(node, Op::Other),
    }
}

/// Whether the operator is defined by ONNX or ONNX Runtime.
fn is_known_domain(node: &proto::Node) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx" | "com.microsoft")
}

/// Checks that an operator has no inputs other than those that its translation reads.
fn check_inputs(node: &proto::Node) -> Result<()> {
    let most = match node.op_type.as_str() {
        "Relu" | "Relu6" | "GlobalAveragePool" | "AveragePool" | "Flatten" | "Softmax" | "LogSoftmax" | "Sigmoid"
        | "Identity" | "Cast" | "Transpose" | "Shape" | "Size" => 1,
        "MatMul" | "Reshape" | "Squeeze" | "Unsqueeze" | "ReduceMean" => 2,
        "Conv" | "Clip" | "Gemm" | "FusedGemm" | "Dropout" | "QuantizeLinear" | "DequantizeLinear" => 3,
        "Pad" | "FusedConv" => 4,
        "BatchNormalization"
        | "QLinearGlobalAveragePool"
        | "QLinearAveragePool"
        | "QLinearReduceMean"
        | "QLinearSigmoid"
        | "QLinearSoftmax" => 5,
        "QLinearAdd" | "QLinearMatMul" => 8,
        "QLinearConv" | "QGemm" => 9,
        _ => return Ok(()),
    };
    if node.input.len() > most {
        return Err(ImportError::malformed(format!("the operator has {} inputs", node.input.len()))
            .expected(format!("at most {most}")));
    }
    Ok(())
}

/// Whether a `TensorProto.DataType` is float, float16, double or bfloat16.
fn is_float(data_type: i64) -> bool {
    matches!(data_type, 1 | 10 | 11 | 16)
}

/// Translates a softmax over the classes. Before opset 13, all axes from `axis` on are normalized together.
fn softmax<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    attributes: Attributes<'a>,
    activation: HeadActivation,
) -> Result<()> {
    let (value, axes) = scope.data(node, 0)?;
    let joined = scope.opset < 13;
    // That of an unknown operation is reported first.
    if !scope.is_unknown(value) {
        axes.check_softmax(attributes.int("axis", if joined { 1 } else { -1 }), joined)?;
    }
    scope.unary(node, Op::Scores(activation))
}

/// Adds an operation that moves elements of input 0, floats or integers.
fn moved<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, op: Op<'a>, axes: Axes) -> Result<()> {
    let (value, _, numbers) = scope.moved(node)?;
    let result = scope.push(node, op, vec![value]);
    scope.name(node, numbers.of(result, axes))
}

fn alias<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let (_, _, numbers) = scope.moved(node)?;
    if node.op_type == "Dropout" && scope.constant(node, 2)?.is_some_and(|training| training.scalar() != Some(0.0)) {
        return Err(ImportError::unsupported("the dropout is in training mode")
            .help("export the model in evaluation mode (`model.eval()`)"));
    }
    scope.name_alias(node, numbers)?;
    // The mask of Dropout.
    for name in node.output.iter().skip(1).filter(|name| !name.is_empty()) {
        scope.bind(name, Slot::Computed)?;
    }
    Ok(())
}

/// Translates a cast to float. Of integers, only the model's input (pixels) is supported.
fn cast<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    if let Some(Slot::Integers { value, axes, dtype, quantization: None }) = scope.slot(node, 0)? {
        if dtype != DType::U8 {
            return Err(ImportError::unsupported("the integers of the image have no scale").expected("uint8 pixels"));
        }
        scope.pixels = Some((1.0, 0));
        return scope.name(node, Slot::Data { value, axes });
    }
    scope.has_half_casts |= matches!(Attributes(&node.attribute).int("to", 0), 10 | 16);
    alias(scope, node)
}

/// Returns the bounds of Clip: attributes before opset 11, inputs since.
fn clip_bounds<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<[f64; 2]> {
    if scope.opset < 11 {
        return Ok([
            layers::bound(attributes.float("min", f32::MIN)),
            layers::bound(attributes.float("max", f32::MAX)),
        ]);
    }
    let mut bounds = [f64::NEG_INFINITY, f64::INFINITY];
    for (slot, at) in bounds.iter_mut().zip(1..) {
        if let Some(constant) = scope.constant(node, at)? {
            let value =
                constant.scalar().ok_or_else(|| ImportError::malformed(format!("input {at} is not a scalar")))?;
            *slot = layers::bound(value as f32);
        }
    }
    Ok(bounds)
}

/// Translates arithmetic of two values, or of a value and a constant.
fn binary<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, operator: Arithmetic) -> Result<()> {
    let is_data = |at| -> Result<bool> { Ok(matches!(scope.slot(node, at)?, Some(Slot::Data { .. }))) };
    let (data, constant_at) = match (node.input.len(), is_data(0)?, is_data(1)?) {
        (2, true, true) if operator == Arithmetic::Add => {
            let ((left, axes), (right, of_right)) = (scope.data(node, 0)?, scope.data(node, 1)?);
            axes.check_sum(of_right)?;
            return scope.emit(node, Op::Add, vec![left, right], axes);
        }
        (2, true, false) => (0, 1),
        (2, false, true) if operator != Arithmetic::Divide => (1, 0),
        _ => return scope.other(node, Op::Other),
    };
    let (value, axes) = scope.data(node, data)?;
    // That of an unknown operation is reported first.
    if scope.is_unknown(value) {
        return scope.other(node, Op::Other);
    }
    let constant = scope.required(node, constant_at)?;
    // A factor and an offset.
    scope.spend(constant.len().saturating_mul(2))?;
    let numbers = per_channel(&constant, axes)?;
    scope.emit(node, Op::with_constant(operator, numbers, data == 1), vec![value], axes)
}

/// Returns a constant that broadcasts over channels: one number, or one per channel.
fn per_channel(constant: &Constant<'_>, axes: Axes) -> Result<Vec<f64>> {
    if !axes.fits(constant.shape()) {
        return Err(ImportError::unsupported("the constant operand is not one number per channel")
            .found(display_shape(constant.shape())));
    }
    Ok(constant.to_f64())
}

fn pad<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes) = scope.data(node, 0)?;
    if !matches!(attributes.string("mode").as_deref(), None | Some("constant")) {
        return scope.other(node, Op::Other);
    }
    let (pads, fill) = if scope.opset < 11 {
        (attributes.ints("pads").unwrap_or(&[]).to_vec(), f64::from(attributes.float("value", 0.0)))
    } else {
        let fill = scope.constant(node, 2)?.map_or(Some(0.0), |fill| fill.scalar());
        (layers::axes_of(&*scope.required(node, 1)?)?, fill.unwrap_or(f64::NAN))
    };
    if fill != 0.0 {
        return Err(ImportError::unsupported(format!("the image is padded with {fill}")).expected("zeros"));
    }
    let padded = match scope.constant(node, 3)? {
        Some(padded) => layers::axes_of(&padded)?,
        None => vec![0, 1, 2, 3],
    };
    // Starts of all axes, then ends.
    let bad = || ImportError::unsupported(format!("pads are {}", display(&pads)));
    if pads.len() != padded.len() * 2 {
        return Err(bad().expected(format!("{} values", padded.len() * 2)));
    }
    let (begins, ends) = pads.split_at(padded.len());
    let rows_at = if matches!(axes, Axes::Nhwc(_)) { 1 } else { 2 };
    let mut sides = [0; 4];
    for ((&axis, &begin), &end) in padded.iter().zip(begins).zip(ends) {
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
    scope.emit(node, Op::Pad(sides), vec![value], axes)
}
