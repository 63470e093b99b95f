//! Translation of one operator to source operations. Activations are NHWC.

use super::channels;
use super::operators as code;
use super::schema::{self, Model, Operator};
use super::tensors::{Input, Tensors};
use mbvc_runtime::HeadActivation;

use crate::error::{ImportError, Result};
use crate::source::{Arithmetic, Constant, Conv, Dense, Kernel, Layout, Op, Pads, Place, Selected, Value};
use crate::text::display_shape;

/// Operands of one operator.
struct Call<'a> {
    operator: Operator<'a>,
    code: i32,
    place: Place<'a>,
    inputs: Vec<i32>,
    output: i32,
}

/// Most operands of an operator; bounds copies of a hostile vector.
pub const MAX_OPERANDS: usize = 64;

/// Operator that holds a subgraph compiled for the Edge TPU.
const EDGE_TPU: &[u8] = b"edgetpu-custom-op";

/// Reads `operator` into `tensors`.
pub fn read<'a>(tensors: &mut Tensors<'a>, model: Model<'a>, operator: Operator<'a>) -> Result<()> {
    let description = model.operator_codes()?.table(operator.code_index()? as usize, "operator code")?;
    let code = schema::operator_code(description)?;
    let custom = schema::custom_code(description)?;
    if custom == EDGE_TPU {
        return Err(ImportError::unsupported("the model is compiled for the Edge TPU")
            .help("import the TFLite file that was passed to `edgetpu_compiler`"));
    }
    let inputs: Vec<i32> = operator.inputs()?.i32s().take(MAX_OPERANDS).collect();
    let outputs: Vec<i32> = operator.outputs()?.i32s().take(MAX_OPERANDS).collect();
    let Some((&output, others)) = outputs.split_first() else { return Ok(()) };
    let operator_name = if custom.is_empty() { code::name(code).into() } else { String::from_utf8_lossy(custom) };
    let place = Place { name: tensors.name(output), operator: operator_name };
    let call = Call { operator, code, place, inputs, output };
    let translated = (|| {
        let mut has_data = false;
        for &input in &call.inputs {
            has_data |= matches!(tensors.input(input)?, Input::Data(_) | Input::Channel(..));
        }
        if has_data { operation(tensors, &call) } else { constant(tensors, &call) }?;
        others.iter().try_for_each(|&output| tensors.computed(output))
    })();
    translated.map_err(|error: Box<ImportError>| error.at(call.place.text()))
}

/// Translates an operator over constants, of which only DEQUANTIZE matters.
fn constant<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    match (call.code, call.inputs.as_slice()) {
        (code::DEQUANTIZE, &[input]) => tensors.alias(call.output, input),
        _ => tensors.computed(call.output),
    }
}

fn operation<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    match call.code {
        code::CONV_2D => conv(tensors, call),
        code::DEPTHWISE_CONV_2D => depthwise(tensors, call),
        code::FULLY_CONNECTED => dense(tensors, call),
        code::ADD => binary(tensors, call, Arithmetic::Add, schema::ADD_OPTIONS),
        code::SUB => binary(tensors, call, Arithmetic::Subtract, schema::SUB_OPTIONS),
        code::MUL => binary(tensors, call, Arithmetic::Multiply, schema::MUL_OPTIONS),
        code::DIV => binary(tensors, call, Arithmetic::Divide, schema::DIV_OPTIONS),
        code::MINIMUM => binary(tensors, call, Arithmetic::Minimum, 0),
        code::MAXIMUM => binary(tensors, call, Arithmetic::Maximum, 0),
        code::RELU => unary(tensors, call, Op::Clamp { low: 0.0, high: f64::INFINITY }),
        code::RELU6 => unary(tensors, call, Op::Clamp { low: 0.0, high: 6.0 }),
        code::RELU_N1_TO_1 => unary(tensors, call, Op::Clamp { low: -1.0, high: 1.0 }),
        code::PAD | code::PADV2 => pad(tensors, call),
        code::AVERAGE_POOL_2D => average_pool(tensors, call),
        code::MEAN => mean(tensors, call),
        code::RESHAPE | code::SQUEEZE | code::EXPAND_DIMS => reshape(tensors, call),
        code::SOFTMAX => softmax(tensors, call),
        code::LOG_SOFTMAX => unary(tensors, call, Op::Scores(HeadActivation::LogSoftmax)),
        code::LOGISTIC => unary(tensors, call, Op::Scores(HeadActivation::Sigmoid)),
        code::ARG_MAX | code::TOPK_V2 => unary(tensors, call, Op::Ranking),
        code::QUANTIZE | code::DEQUANTIZE => tensors.alias(call.output, first(call)?),
        code::TRANSPOSE => transpose(tensors, call),
        code::CAST => cast(tensors, call),
        code::STRIDED_SLICE => match channels::sliced(tensors, call.operator, &call.inputs)? {
            Some(selected) => select(tensors, call, selected),
            None => other(tensors, call),
        },
        code::REVERSE_V2 if matches!(integers(tensors, call, 1)?.as_slice(), [3] | [-1]) => {
            unary(tensors, call, Op::ReverseChannels)
        }
        code::PACK => match channels::stacked(tensors, call.operator, &call.inputs)? {
            Some(image) => {
                let value = tensors.push(&call.place, Op::ReverseChannels, vec![image]);
                tensors.stand_for(call.output, value)
            }
            None => other(tensors, call),
        },
        code::CONCATENATION | code::TILE | code::BROADCAST_TO => copies(tensors, call),
        code::SHAPE => {
            if let Input::Data(value) = tensors.input(first(call)?)? {
                tensors.measured.insert(value);
            }
            tensors.computed(call.output)
        }
        _ => other(tensors, call),
    }
}

fn first(call: &Call<'_>) -> Result<i32> {
    call.inputs.first().copied().ok_or_else(|| ImportError::malformed("the operator has no input"))
}

fn data(tensors: &Tensors<'_>, index: i32) -> Result<Value> {
    match tensors.input(index)? {
        Input::Data(value) => Ok(value),
        _ => Err(ImportError::unsupported("the first input is not an activation")),
    }
}

fn unary<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>, op: Op<'a>) -> Result<()> {
    let value = data(tensors, first(call)?)?;
    let value = tensors.push(&call.place, op, vec![value]);
    tensors.stand_for(call.output, value)
}

/// Translates a reshape. That of an image is checked with the layers around it; one of a vector, or of one pixel, keeps the
/// channels as the last axis.
fn reshape<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let (from, to) = (tensors.shape(first(call)?)?, tensors.shape(call.output)?);
    // Dense layers at each position are `[positions, channels]`.
    let is_one = |axis: usize, size: &usize| *size == 1 || (axis == 0 && to.first() == Some(size) && to.len() > 1);
    let is_pixel =
        from.split_last().is_some_and(|(_, before)| before.iter().enumerate().all(|(at, size)| is_one(at, size)));
    // The stored number of positions may be 1 for a dynamic one; their vectors are flattened to a longer one.
    let flattens_positions = matches!(to.as_slice(), [1, whole] if from.last() < Some(whole));
    if !is_pixel || flattens_positions {
        let images = from.first().copied().unwrap_or(1);
        if images > 1 && to.first() != Some(&images) {
            return Err(ImportError::unsupported(
                "the reshape joins or splits the values of several images or positions",
            )
            .expected(format!("first axis {images}"))
            .found(format!("{} to {}", display_shape(&from), display_shape(&to)))
            .help("convert the model for one image, with an average pool before the dense layers"));
        }
        return unary(tensors, call, Op::Flatten);
    }
    // The first size is the number of images if it does not change.
    let keeps_images = from.len() > 1 && to.len() > 1 && to.first() == from.first();
    let sizes: Vec<Option<i64>> = to
        .iter()
        .enumerate()
        .map(|(axis, size)| if axis == 0 && keeps_images { None } else { i64::try_from(*size).ok() })
        .collect();
    let op = Op::reshape(&sizes, from.last().copied())?;
    unary(tensors, call, op)
}

/// Checks that a constant does not change the shape of the other operand, except that it may copy a gray image.
fn keeps_shape(tensors: &Tensors<'_>, call: &Call<'_>, data: i32) -> Result<()> {
    let (from, to) = (tensors.shape(data)?, tensors.shape(call.output)?);
    let is_copied = matches!((from.as_slice(), to.as_slice()), ([before @ .., 1], [after @ .., _]) if before == after && from.len() == 4);
    if from == to || is_copied {
        return Ok(());
    }
    Err(ImportError::unsupported("the constant changes the shape")
        .expected(display_shape(&from))
        .found(display_shape(&to)))
}

/// Translates the conversion of pixels to floats. Other conversions round.
fn cast<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let input = first(call)?;
    if tensors.is_plain_integer(input)? && tensors.is_float(call.output)? {
        return tensors.alias(call.output, input);
    }
    other(tensors, call)
}

fn select<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>, selected: Selected) -> Result<()> {
    let value = data(tensors, first(call)?)?;
    match selected {
        Selected::Reversed => unary(tensors, call, Op::ReverseChannels),
        Selected::Channel(channel) => tensors.channel(call.output, value, channel),
    }
}

fn softmax<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let beta = call.operator.options(schema::SOFTMAX_OPTIONS)?.f32(4, 0.0)?;
    if beta != 1.0 {
        return Err(ImportError::unsupported("the softmax scales its logits")
            .expected("beta 1")
            .found(format!("beta {beta}")));
    }
    unary(tensors, call, Op::Scores(HeadActivation::Softmax))
}

fn other<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let mut values = Vec::new();
    for &input in &call.inputs {
        if let Input::Data(value) | Input::Channel(value, _) = tensors.input(input)? {
            values.push(value);
        }
    }
    let value = tensors.push(&call.place, Op::Other, values);
    tensors.stand_for(call.output, value)
}

/// Adds `op` and its fused activation.
fn fused<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>, op: Op<'a>, inputs: Vec<Value>, code: i8) -> Result<()> {
    let mut value = tensors.push(&call.place, op, inputs);
    let bounds = match code {
        0 => None,
        1 => Some((0.0, f64::INFINITY)),
        2 => Some((-1.0, 1.0)),
        3 => Some((0.0, 6.0)),
        other => {
            return Err(
                ImportError::unsupported(format!("unsupported fused activation {other}")).expected("RELU6 or RELU")
            );
        }
    };
    if let Some((low, high)) = bounds {
        value = tensors.push(&call.place, Op::Clamp { low, high }, vec![value]);
    }
    tensors.stand_for(call.output, value)
}

/// Returns input, kernel and bias of a layer with weights; the bias is -1 if absent.
fn operands(inputs: &[i32]) -> Result<(i32, i32, i32)> {
    match *inputs {
        [input, weight, bias] => Ok((input, weight, bias)),
        [input, weight] => Ok((input, weight, -1)),
        _ => Err(ImportError::malformed(format!("the operator has {} inputs", inputs.len())).expected("2 or 3")),
    }
}

fn bias_scale(tensors: &Tensors<'_>, input: i32, weight: i32) -> Result<Option<f64>> {
    Ok(tensors.scale(input)?.zip(tensors.scale(weight)?).map(|(input, weight)| input * weight))
}

fn size(value: i32, what: &str) -> Result<usize> {
    usize::try_from(value)
        .ok()
        .filter(|&size| size > 0)
        .ok_or_else(|| ImportError::malformed(format!("{what} is {value}")).expected("a positive number"))
}

fn pads(padding: i8) -> Result<Pads> {
    match padding {
        0 => Ok(Pads::Same),
        1 => Ok(Pads::Explicit([0; 4])),
        other => Err(ImportError::malformed(format!("padding {other} is neither SAME (0) nor VALID (1)"))),
    }
}

/// Weights are `[out, height, width, in]`.
fn conv<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let options = call.operator.options(schema::CONV_OPTIONS)?;
    let (input, weight, bias) = operands(&call.inputs)?;
    let constant = required(tensors, weight)?;
    rank_4(&constant, "[out, height, width, in]")?;
    let op = Op::Conv(Conv {
        kernel: Kernel { constant, order: vec![1, 2, 3, 0], scale: 1.0 },
        bias: tensors.constant(bias, bias_scale(tensors, input, weight)?)?,
        groups: 1,
        stride: [size(options.i32(8, 0)?, "the vertical stride")?, size(options.i32(6, 0)?, "the horizontal stride")?],
        dilation: [size(options.i32(14, 1)?, "the dilation")?, size(options.i32(12, 1)?, "the dilation")?],
        pads: pads(options.i8(4)?)?,
    });
    let value = data(tensors, input)?;
    fused(tensors, call, op, vec![value], options.i8(10)?)
}

/// Weights are `[1, height, width, channels]`.
fn depthwise<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let options = call.operator.options(schema::DEPTHWISE_OPTIONS)?;
    let (input, weight, bias) = operands(&call.inputs)?;
    let constant = required(tensors, weight)?;
    rank_4(&constant, "[1, height, width, channels]")?;
    let &[1, _, _, channels] = constant.shape() else {
        return Err(
            ImportError::malformed("the first dimension of the weight is not 1").found(display_shape(constant.shape()))
        );
    };
    // 0 in files of converters that omit the deprecated field.
    let multiplier = options.i32(10, 0)?;
    if !matches!(multiplier, 0 | 1) {
        return Err(ImportError::unsupported(format!("the depth multiplier is {multiplier}")).expected("1"));
    }
    let op = Op::Conv(Conv {
        kernel: Kernel { constant, order: vec![1, 2, 0, 3], scale: 1.0 },
        bias: tensors.constant(bias, bias_scale(tensors, input, weight)?)?,
        groups: channels,
        stride: [size(options.i32(8, 0)?, "the vertical stride")?, size(options.i32(6, 0)?, "the horizontal stride")?],
        dilation: [size(options.i32(16, 1)?, "the dilation")?, size(options.i32(14, 1)?, "the dilation")?],
        pads: pads(options.i8(4)?)?,
    });
    let value = data(tensors, input)?;
    fused(tensors, call, op, vec![value], options.i8(12)?)
}

/// Weights are `[out, in]`.
fn dense<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let options = call.operator.options(schema::FULLY_CONNECTED_OPTIONS)?;
    let (input, weight, bias) = operands(&call.inputs)?;
    let constant = required(tensors, weight)?;
    if constant.shape().len() != 2 || options.i8(6)? != 0 {
        return Err(ImportError::unsupported("unsupported weight")
            .expected("2 dimensions, [out, in], in the default format")
            .found(display_shape(constant.shape())));
    }
    let bias = tensors.constant(bias, bias_scale(tensors, input, weight)?)?;
    let op = Op::Dense(Dense { kernel: Kernel { constant, order: vec![1, 0], scale: 1.0 }, bias });
    let value = data(tensors, input)?;
    fused(tensors, call, op, vec![value], options.i8(4)?)
}

fn required<'a>(tensors: &Tensors<'a>, index: i32) -> Result<std::rc::Rc<Constant<'a>>> {
    let constant =
        tensors.constant(index, None)?.ok_or_else(|| ImportError::malformed("the operator has no weights"))?;
    if constant.is_real() {
        Ok(constant)
    } else {
        Err(ImportError::unsupported("integer weights without a scale").help("convert the model again"))
    }
}

fn rank_4(constant: &Constant<'_>, expected: &str) -> Result<()> {
    if constant.shape().len() == 4 {
        return Ok(());
    }
    Err(ImportError::malformed("expected 4 dimensions of the weight")
        .expected(expected)
        .found(display_shape(constant.shape())))
}

/// Translates arithmetic of two values, or of a value and a constant with one number per channel (the last axis).
fn binary<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>, operator: Arithmetic, options: i8) -> Result<()> {
    let activation = call.operator.options(options)?.i8(4)?;
    let &[left, right] = call.inputs.as_slice() else { return other(tensors, call) };
    let (value, constant, swapped) = match (tensors.input(left)?, tensors.input(right)?) {
        (Input::Data(left), Input::Data(right)) if operator == Arithmetic::Add => {
            return fused(tensors, call, Op::Add, vec![left, right], activation);
        }
        (Input::Data(value), Input::Constant) => (value, right, false),
        (Input::Constant, Input::Data(value)) if operator != Arithmetic::Divide => (value, left, true),
        _ => return other(tensors, call),
    };
    keeps_shape(tensors, call, if swapped { right } else { left })?;
    let constant = required(tensors, constant)?;
    // A factor and an offset.
    tensors.spend(constant.len().saturating_mul(2))?;
    fused(tensors, call, Op::with_constant(operator, constant.per_channel()?, swapped), vec![value], activation)
}

/// Returns axes, or two numbers per axis.
fn integers(tensors: &Tensors<'_>, call: &Call<'_>, at: usize) -> Result<Vec<i64>> {
    const MOST: usize = 16;
    let index = call.inputs.get(at).copied().unwrap_or(-1);
    let constant = tensors.constant(index, None)?;
    if constant.as_ref().is_some_and(|constant| constant.len() > MOST) {
        return Err(ImportError::unsupported("too many values for axes").expected("at most two for each of 4 axes"));
    }
    Ok(constant.map(|constant| constant.to_i64()).unwrap_or_default())
}

/// Paddings are `[4, 2]`: before and after each axis of NHWC.
fn pad<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    if let Some(&fill) = call.inputs.get(2)
        && let Some(fill) = tensors.constant(fill, None)?
        && fill.scalar() != Some(0.0)
    {
        return Err(ImportError::unsupported("the padding value is not zero"));
    }
    let paddings = integers(tensors, call, 1)?;
    let sides = match *paddings.as_slice() {
        [0, 0, top, bottom, left, right, 0, 0] => [top, left, bottom, right].map(|side| usize::try_from(side).ok()),
        _ => [None; 4],
    };
    let [Some(top), Some(left), Some(bottom), Some(right)] = sides else {
        return Err(ImportError::unsupported("the padding is not limited to height and width")
            .found(format!("{:?}", paddings.iter().take(8).collect::<Vec<_>>())));
    };
    unary(tensors, call, Op::Pad([top, left, bottom, right]))
}

fn average_pool<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let options = call.operator.options(schema::POOL_OPTIONS)?;
    let window = [size(options.i32(12, 0)?, "the filter height")?, size(options.i32(10, 0)?, "the filter width")?];
    let stride = [size(options.i32(8, 0)?, "the vertical stride")?, size(options.i32(6, 0)?, "the horizontal stride")?];
    // SAME adds no padding if the windows tile the image.
    if pads(options.i8(4)?)? == Pads::Same && stride != window {
        return Err(ImportError::unsupported("the average pool is padded").expected("VALID padding"));
    }
    let value = data(tensors, first(call)?)?;
    fused(tensors, call, Op::Pool { window: Some(window) }, vec![value], options.i8(14)?)
}

fn mean<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let axes = integers(tensors, call, 1)?;
    let mut spatial: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis.saturating_add(4) } else { axis }).collect();
    spatial.sort_unstable();
    if spatial != [1, 2] {
        return Err(ImportError::unsupported("the mean is not over height and width")
            .expected("axes [1, 2]")
            .found(format!("axes {:?}", axes.iter().take(8).collect::<Vec<_>>())));
    }
    unary(tensors, call, Op::Pool { window: None })
}

/// Translates copies of a gray image along the channels: a concatenation of one tensor, a tile, a broadcast. Any other is
/// not an operation of MobileNetV2.
fn copies<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let input = first(call)?;
    let (Some(from), Some(to)) = (tensors.sizes(input)?, tensors.sizes(call.output)?) else {
        return other(tensors, call);
    };
    let copied = match call.code {
        code::CONCATENATION => {
            let options = call.operator.options(schema::CONCATENATION_OPTIONS)?;
            let along_channels = matches!(options.i32(4, 0)?, 3 | -1) && options.i8(6)? == 0;
            (along_channels && call.inputs.iter().all(|other| *other == input)).then_some(call.inputs.len())
        }
        code::TILE => match integers(tensors, call, 1)?.as_slice() {
            &[1, 1, 1, copies] => usize::try_from(copies).ok(),
            _ => None,
        },
        // All copies are along the channels if the other sizes do not change.
        _ => to[3].filter(|_| to[1].is_some() && to[2].is_some()),
    };
    match copied {
        Some(channels) if from == [to[0], to[1], to[2], Some(1)] && to[3] == Some(channels) => {
            unary(tensors, call, Op::Repeat { channels })
        }
        _ => other(tensors, call),
    }
}

/// Translates the transpose of an NCHW input, which converters from PyTorch add.
fn transpose<'a>(tensors: &mut Tensors<'a>, call: &Call<'a>) -> Result<()> {
    let to_nhwc = integers(tensors, call, 1)? == [0, 2, 3, 1];
    if !to_nhwc || !tensors.nodes.is_empty() || tensors.channels_first {
        return other(tensors, call);
    }
    tensors.channels_first = true;
    tensors.holders.set_layout(data(tensors, first(call)?)?, Layout::Nchw);
    tensors.alias(call.output, first(call)?)
}
