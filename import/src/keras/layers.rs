//! Translation of one Keras layer to source operations. Images are NHWC.

use std::rc::Rc;

use super::arithmetic::{self, Operation};
use super::builder::{Builder, Operand, values};
use super::channels;
use super::config::{Layer, MAX_NUMBERS};
use super::weights::{Scope, Variables};
use mbvc_runtime::HeadActivation;

use crate::error::{ImportError, Result};
use crate::source::{Affine, Arithmetic, BatchNorm, Constant, Conv, Dense, Kernel, Op, Pads, Place, Selected, Value};
use crate::text::{display_shape, shorten};

/// Layers without effect at inference.
const TRAINING_ONLY: [&str; 8] = [
    "Dropout",
    "SpatialDropout2D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
    "InputLayer",
];

/// Layers whose result has a size of their own.
const RESIZING: [&str; 3] = ["Resizing", "RandomCrop", "CenterCrop"];

/// Augmentation layers, active in training only, without the prefix `Random`.
const AUGMENTATION: [&str; 21] = [
    "Flip",
    "Rotation",
    "Zoom",
    "Translation",
    "Contrast",
    "Brightness",
    "Height",
    "Width",
    "Shear",
    "Perspective",
    "Hue",
    "Saturation",
    "Sharpness",
    "ColorJitter",
    "ColorDegeneration",
    "Grayscale",
    "Posterization",
    "Invert",
    "Erasing",
    "ElasticTransform",
    "GaussianBlur",
];
/// Augmentation layers with other names.
const MIXING: [&str; 4] = ["RandAugment", "AugMix", "MixUp", "CutMix"];

/// One call of a layer that is not a network.
struct Call<'n, 'a> {
    layer: &'n Layer<'a>,
    place: &'n Place<'a>,
    scope: &'n Scope<'a>,
    /// The first input.
    value: Value,
}

/// Adds the operations of `layer` on `operands` and returns its result.
pub fn translate<'a>(
    graph: &mut Builder<'a>,
    layer: &Layer<'a>,
    place: &Place<'a>,
    operands: &[Operand],
    scope: &Scope<'a>,
) -> Result<Value> {
    let inputs = values(operands);
    let Some(&value) = inputs.first() else {
        return Err(ImportError::unsupported("the layer reads no tensor"));
    };
    if let Some(format) = layer.text("data_format")?.filter(|format| *format != "channels_last") {
        return Err(ImportError::unsupported("the layer does not read channels-last images")
            .expected("`data_format` is `channels_last`, the default of Keras")
            .found(shorten(format))
            .help("set `image_data_format` to channels_last, rebuild the model and save it"));
    }
    let call = Call { layer, place, scope, value };
    if let Some(selected) = channels::selected(layer) {
        return match selected {
            Selected::Reversed => call.push(graph, Op::ReverseChannels),
            Selected::Channel(channel) => Ok(graph.add_channel(value, channel)),
        };
    }
    if let Some(image) = channels::stacked(graph, layer, &inputs) {
        return graph.push(place, Op::ReverseChannels, vec![image]);
    }
    if inputs.iter().any(|input| graph.channel(*input).is_some()) {
        return Err(ImportError::unsupported("the layer reads single channels of the image")
            .expected("a `stack` of all channels in reverse order, as in `preprocess_input`"));
    }
    match layer.class {
        "Conv2D" => conv(graph, &call),
        "DepthwiseConv2D" => depthwise(graph, &call),
        "Dense" => dense(graph, &call),
        "BatchNormalization" => batch_norm(graph, &call),
        "ReLU" => relu(graph, &call),
        "Activation" if layer.config.get("activation").is_none() => {
            Err(layer.wrong("activation", "the name of a function"))
        }
        "Activation" => call.own_activation(graph, value),
        "Softmax" => softmax(graph, &call, layer.number("axis")?),
        "ZeroPadding2D" => zero_padding(graph, &call),
        "GlobalAveragePooling2D" => global_average_pool(graph, &call),
        "AveragePooling2D" => average_pool(graph, &call),
        "Flatten" => graph.push(place, Op::Flatten, vec![value]),
        "Reshape" => reshape(graph, &call, operands),
        "Rescaling" => rescaling(graph, &call),
        "Normalization" => normalization(graph, &call),
        class if RESIZING.contains(&class) => resizing(graph, &call),
        "Concatenate" => concatenate(graph, &call, &inputs),
        "Lambda" => Err(ImportError::unsupported("a Lambda layer contains Python code, which is not executed")
            .help("replace it (by `Rescaling` if it scales the image) or remove it, and save the model again")),
        class if is_augmentation(class) => {
            graph.note("augmentation layers are omitted: they have no effect at inference".into());
            Ok(value)
        }
        class if TRAINING_ONLY.contains(&class) && inputs.len() == 1 => Ok(value),
        _ => match arithmetic::operation(layer, operands)? {
            Operation::Op(op) => graph.push(place, op, inputs),
            Operation::Arithmetic(operator, op) => {
                // A division results in floats.
                let overflows = operator != Arithmetic::Divide && !matches!(op, Op::Other);
                if overflows && inputs.iter().any(|input| graph.is_of_integers(*input)) {
                    return Err(ImportError::unsupported(
                        "the arithmetic is on integer pixels, where results overflow",
                    )
                    .expected("a cast to float32 before it")
                    .help("move the cast before the arithmetic, or use `Rescaling`, and save the model again"));
                }
                graph.push(place, op, inputs)
            }
            Operation::ToFloat => {
                graph.convert_to_floats(value);
                Ok(value)
            }
            Operation::Activation(name) => activation(graph, &call, value, Some(name)),
            Operation::Softmax { axis } => softmax(graph, &call, axis),
            Operation::Reshape => reshape(graph, &call, operands),
            Operation::Nothing => Ok(value),
        },
    }
}

/// Whether a call records `training=True` because it is the default, as Keras 3 does for layers on images. A network that is
/// called for inference overrides it.
pub fn records_training(layer: &Layer<'_>) -> bool {
    let is_keras3 = layer.inbound.as_array().is_some_and(|calls| calls.iter().all(|call| call.get("kwargs").is_some()));
    is_keras3 && (is_augmentation(layer.class) || RESIZING.contains(&layer.class))
}

/// Whether a layer may have any dtype: it has no effect on the type of pixels, or its translation checks it.
pub fn has_any_type(class: &str) -> bool {
    TRAINING_ONLY.contains(&class) || RESIZING.contains(&class) || is_augmentation(class) || class == "Cast"
}

fn is_augmentation(class: &str) -> bool {
    MIXING.contains(&class) || class.strip_prefix("Random").is_some_and(|kind| AUGMENTATION.contains(&kind))
}

impl<'a> Call<'_, 'a> {
    fn variables(&self, graph: &Builder<'a>) -> Result<Variables> {
        graph.weights.variables(self.scope, self.layer.name)
    }

    /// Checks that the layer has no weights but these, without the last one, the bias, if it is not used.
    fn check_only(&self, variables: &Variables, names: &[&str]) -> Result<()> {
        let (_, without_bias) = names.split_last().unwrap_or((&"", &[]));
        variables.check_only(if self.layer.flag("use_bias", true)? { names } else { without_bias })
    }

    fn push(&self, graph: &mut Builder<'a>, op: Op<'a>) -> Result<Value> {
        graph.push(self.place, op, vec![self.value])
    }

    /// Adds `op` and the layer's activation.
    fn activated(&self, graph: &mut Builder<'a>, op: Op<'a>) -> Result<Value> {
        let value = self.push(graph, op)?;
        self.own_activation(graph, value)
    }

    /// Adds the layer's activation, a function or a layer.
    fn own_activation(&self, graph: &mut Builder<'a>, value: Value) -> Result<Value> {
        let layer = self.layer.activation_layer()?;
        let call = Call { layer: layer.as_ref().unwrap_or(self.layer), value, ..*self };
        match layer.map_or("", |layer| layer.class) {
            "ReLU" => relu(graph, &call),
            "Softmax" => softmax(graph, &call, call.layer.number("axis")?),
            _ => activation(graph, self, value, self.layer.activation()?),
        }
    }

    fn kernel(
        &self,
        graph: &Builder<'a>,
        variables: &Variables,
        names: &[&str],
        order: [usize; 4],
    ) -> Result<Kernel<'a>> {
        let constant = graph.weights.find(variables, names, 0)?;
        let rank = constant.shape().len();
        if rank != 4 {
            return Err(
                ImportError::malformed("expected 4 dimensions of the weight").found(display_shape(constant.shape()))
            );
        }
        Ok(Kernel { constant, order: order.to_vec(), scale: 1.0 })
    }

    fn bias(&self, graph: &Builder<'a>, variables: &Variables) -> Result<Option<Rc<Constant<'a>>>> {
        let has_bias = self.layer.flag("use_bias", true)?;
        has_bias.then(|| graph.weights.find(variables, &["bias"], 1)).transpose()
    }

    fn pads(&self) -> Result<Pads> {
        match self.layer.text("padding")? {
            Some("same") => Ok(Pads::Same),
            Some("valid") | None => Ok(Pads::Explicit([0; 4])),
            _ => Err(self.layer.wrong("padding", "`same` or `valid`")),
        }
    }
}

fn conv<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let variables = call.variables(graph)?;
    call.check_only(&variables, &["kernel", "bias"])?;
    let groups = call.layer.number("groups")?.unwrap_or(1.0);
    if groups != 1.0 {
        return Err(call.layer.wrong("groups", "1"));
    }
    let op = Op::Conv(Conv {
        kernel: call.kernel(graph, &variables, &["kernel"], [0, 1, 2, 3])?,
        bias: call.bias(graph, &variables)?,
        groups: 1,
        stride: call.layer.pair("strides", 1)?,
        dilation: call.layer.pair("dilation_rate", 1)?,
        pads: call.pads()?,
    });
    call.activated(graph, op)
}

/// The weight is `[height, width, channels, multiplier]`.
fn depthwise<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let variables = call.variables(graph)?;
    // The name depends on the version of Keras.
    let [first, second] = ["kernel", "depthwise_kernel"].map(|kernel| call.check_only(&variables, &[kernel, "bias"]));
    first.or(second)?;
    let kernel = call.kernel(graph, &variables, &["depthwise_kernel", "kernel"], [0, 1, 3, 2])?;
    let &[_, _, channels, multiplier] = kernel.constant.shape() else {
        return Err(ImportError::malformed("expected 4 dimensions of the weight"));
    };
    if multiplier != 1 {
        return Err(ImportError::unsupported(format!("the depth multiplier is {multiplier}")).expected("1"));
    }
    let op = Op::Conv(Conv {
        kernel,
        bias: call.bias(graph, &variables)?,
        groups: channels,
        stride: call.layer.pair("strides", 1)?,
        dilation: call.layer.pair("dilation_rate", 1)?,
        pads: call.pads()?,
    });
    call.activated(graph, op)
}

fn dense<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let variables = call.variables(graph)?;
    call.check_only(&variables, &["kernel", "bias"])?;
    let constant = graph.weights.find(&variables, &["kernel"], 0)?;
    if constant.shape().len() != 2 {
        return Err(ImportError::unsupported("the weight is not a matrix")
            .expected("2 dimensions, [in, out]")
            .found(display_shape(constant.shape())));
    }
    let bias = call.bias(graph, &variables)?;
    call.activated(graph, Op::Dense(Dense { kernel: Kernel { constant, order: vec![0, 1], scale: 1.0 }, bias }))
}

fn batch_norm<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let axis = call.layer.numbers("axis")?;
    // Keras 2 stores the axis of a vector, -1, as 1.
    let of_vector = matches!(axis.as_deref(), Some([1.0])) && graph.is_vector(call.value);
    if !of_vector && !matches!(axis.as_deref(), None | Some([-1.0 | 3.0])) {
        return Err(call.layer.wrong("axis", "-1 or 3, the channels"));
    }
    let variables = call.variables(graph)?;
    let (scaled, centered) = (call.layer.flag("scale", true)?, call.layer.flag("center", true)?);
    let names = [("gamma", scaled), ("beta", centered), ("moving_mean", true), ("moving_variance", true)];
    let names: Vec<_> = names.into_iter().filter(|(_, is_used)| *is_used).map(|(name, _)| name).collect();
    variables.check_only(&names)?;
    let statistics = usize::from(scaled) + usize::from(centered);
    let mean = graph.weights.find(&variables, &["moving_mean"], statistics)?;
    let variance = graph.weights.find(&variables, &["moving_variance"], statistics + 1)?;
    let all = |value| graph.weights.repeated(value, mean.len());
    let gamma = if scaled { graph.weights.find(&variables, &["gamma"], 0)? } else { all(1.0)? };
    let beta = if centered { graph.weights.find(&variables, &["beta"], usize::from(scaled))? } else { all(0.0)? };
    let epsilon = call.layer.number("epsilon")?.unwrap_or(1e-3);
    call.push(graph, Op::BatchNorm(BatchNorm { gamma, beta, mean, variance, epsilon }))
}

fn relu<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    for key in ["negative_slope", "threshold"] {
        if call.layer.number(key)?.unwrap_or(0.0) != 0.0 {
            return Err(call.layer.wrong(key, "0"));
        }
    }
    call.push(graph, Op::Clamp { low: 0.0, high: call.layer.number("max_value")?.unwrap_or(f64::INFINITY) })
}

fn softmax<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>, axis: Option<f64>) -> Result<Value> {
    let axis = axis.unwrap_or(-1.0);
    let last = if graph.is_vector(call.value) { 1.0 } else { 3.0 };
    if axis != last && axis != -1.0 {
        return Err(ImportError::unsupported("the softmax is not over the last axis")
            .expected("`axis` -1")
            .found(axis.to_string())
            .help("compute the softmax over the last axis and save the model again"));
    }
    call.push(graph, Op::Scores(HeadActivation::Softmax))
}

/// Adds the activation with this name.
fn activation<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>, value: Value, name: Option<&'a str>) -> Result<Value> {
    let op = match name {
        None | Some("linear") => return Ok(value),
        Some("relu") => Op::Clamp { low: 0.0, high: f64::INFINITY },
        Some("relu6") => Op::Clamp { low: 0.0, high: 6.0 },
        Some("softmax") => Op::Scores(HeadActivation::Softmax),
        Some("log_softmax") => Op::Scores(HeadActivation::LogSoftmax),
        Some("sigmoid") => Op::Scores(HeadActivation::Sigmoid),
        Some(other) => {
            let place = Place { name: call.place.name.clone(), operator: other.into() };
            return graph.push(&place, Op::Other, vec![value]);
        }
    };
    graph.push(call.place, op, vec![value])
}

/// `padding` is `[[top, bottom], [left, right]]`.
fn zero_padding<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let sizes = call.layer.numbers("padding")?.unwrap_or_default();
    let whole: Vec<usize> =
        sizes.iter().filter(|size| size.fract() == 0.0 && **size >= 0.0).map(|x| *x as usize).collect();
    let sides = match (whole.as_slice(), sizes.len() == whole.len()) {
        (&[all], true) => [all; 4],
        (&[rows, columns], true) => [rows, columns, rows, columns],
        (&[top, bottom, left, right], true) => [top, left, bottom, right],
        _ => return Err(call.layer.wrong("padding", "[[top, bottom], [left, right]]")),
    };
    call.push(graph, Op::Pad(sides))
}

fn global_average_pool<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let value = call.push(graph, Op::Pool { window: None })?;
    if call.layer.flag("keepdims", false)? {
        graph.keep_axes(value);
    }
    Ok(value)
}

fn average_pool<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    if call.pads()? == Pads::Same {
        return Err(call.layer.wrong("padding", "`valid`"));
    }
    call.push(graph, Op::Pool { window: Some(call.layer.pair("pool_size", 2)?) })
}

/// The layer has its sizes in the configuration, an operation also among its operands.
fn reshape<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>, operands: &[Operand]) -> Result<Value> {
    let of_operands = operands.iter().find_map(|operand| match operand {
        Operand::Numbers(numbers) => Some(numbers.clone()),
        Operand::Value(_) => None,
    });
    let target = call.layer.numbers("target_shape")?;
    // The sizes of an operation include the batch.
    let vector = if target.is_some() { 1 } else { 2 };
    let recorded = target.or(call.layer.numbers("newshape")?).or(of_operands);
    let sizes = recorded.filter(|sizes| sizes.iter().all(|size| size.fract() == 0.0));
    let sizes = sizes.ok_or_else(|| call.layer.wrong("target_shape", "whole numbers"))?;
    let sizes: Vec<Option<i64>> = sizes.iter().map(|size| Some(*size as i64)).collect();
    let op = Op::reshape(&sizes, graph.channels(call.value))?;
    let value = call.push(graph, op)?;
    if sizes.len() != vector {
        graph.keep_axes(value);
    }
    Ok(value)
}

/// `x * scale + offset`.
fn rescaling<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let scale = call.layer.per_channel("scale")?.ok_or_else(|| call.layer.wrong("scale", "a number"))?;
    let value = call.push(graph, Op::Affine(Affine::scaling(scale)))?;
    match call.layer.per_channel("offset")? {
        Some(offset) if offset.iter().any(|offset| *offset != 0.0) => {
            graph.push(call.place, Op::Affine(Affine::shifting(offset)), vec![value])
        }
        _ => Ok(value),
    }
}

/// `(x - mean) / sqrt(variance)` per channel, with constants from the configuration or the weights.
fn normalization<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    /// Keras' lower bound of the divisor.
    const EPSILON: f64 = 1e-7;
    if !matches!(call.layer.numbers("axis")?.as_deref(), None | Some([-1.0 | 3.0])) {
        return Err(call.layer.wrong("axis", "-1 or 3, the channels"));
    }
    if call.layer.flag("invert", false)? {
        return Err(call.layer.wrong("invert", "false"));
    }
    let given = call.layer.numbers("mean")?.zip(call.layer.numbers("variance")?);
    let (mean, variance) = match given {
        Some(given) => given,
        None => {
            let variables = call.variables(graph)?;
            variables.check_only(&["mean", "variance", "count"])?;
            let numbers = |name, number| {
                let found = graph.weights.find(&variables, &[name], number)?;
                if found.len() > MAX_NUMBERS {
                    return Err(ImportError::unsupported("the normalization is not per channel")
                        .found(display_shape(found.shape())));
                }
                Ok(found.to_f64())
            };
            (numbers("mean", 0)?, numbers("variance", 1)?)
        }
    };
    let shift = Op::Affine(Affine::shifting(mean.iter().map(|mean| -mean).collect()));
    let scale = variance.iter().map(|variance| 1.0 / variance.sqrt().max(EPSILON)).collect();
    let value = call.push(graph, shift)?;
    graph.push(call.place, Op::Affine(Affine::scaling(scale)), vec![value])
}

/// Copies of one image along the channels; any other concatenation is not an operation of MobileNetV2.
fn concatenate<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>, inputs: &[Value]) -> Result<Value> {
    let along_channels = matches!(call.layer.number("axis")?, None | Some(-1.0 | 3.0));
    let is_copied = inputs.iter().all(|input| *input == call.value);
    if along_channels && is_copied {
        return call.push(graph, Op::Repeat { channels: inputs.len() });
    }
    graph.push(call.place, Op::Other, inputs.to_vec())
}

/// Resizing to the input size is the identity; a dynamic input size becomes this size.
fn resizing<'a>(graph: &mut Builder<'a>, call: &Call<'_, 'a>) -> Result<Value> {
    let size = |key| -> Result<Option<usize>> {
        let size = call.layer.number(key)?;
        Ok(size.filter(|size| *size >= 1.0).map(|size| size as usize))
    };
    let (Some(height), Some(width)) = (size("height")?, size("width")?) else {
        return Err(call.layer.wrong("height", "a height and a width"));
    };
    let [rows, columns, _] = &mut graph.image;
    let had = [*rows, *columns];
    if graph.nodes.iter().any(|node| !matches!(node.op, Op::Affine(_))) {
        return call.push(graph, Op::Other);
    }
    match had {
        [Some(rows), Some(columns)] if [rows, columns] == [height, width] => {}
        [None, None] => {
            (*rows, *columns) = (Some(height), Some(width));
            graph.note(format!(
                "the layer '{}' ({}) is omitted: crop or resize images to {height}x{width} in the same way before inference; \
                 `mbvc classify` uses its own filter and framing, so its scores can differ",
                shorten(call.layer.name),
                shorten(call.layer.class)
            ));
        }
        _ => {
            let [rows, columns] = had.map(|size| size.map_or("?".into(), |size| size.to_string()));
            return Err(ImportError::unsupported("the model resizes its images")
                .found(format!("{rows}x{columns} to {height}x{width}"))
                .help("save a model without this layer: `mbvc classify` resizes images"));
        }
    }
    Ok(call.value)
}
