//! Translation of convolutions, dense layers, normalizations and pools.

use std::rc::Rc;

use super::proto;
use super::scope::{Axes, Scope, Slot};
use super::tensor::{Attributes, display, non_negative};
use crate::error::{ImportError, Result};
use crate::source::{BatchNorm, Constant, Conv, Dense, Kernel, Op, Pads, Value, Values, decimal};
use crate::text::{display_shape, shorten};

/// A constant that nodes may share.
type Shared<'a> = Rc<Constant<'a>>;

/// Translates a convolution of floats, without its activation. Returns its value and axes.
pub fn float_conv<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<(Value, Axes)> {
    let (value, axes) = scope.data(node, 0)?;
    expect_channels_first(axes)?;
    let op = conv(Attributes(&node.attribute), scope.required(node, 1)?, scope.constant(node, 2)?)?;
    let axes = match axes {
        Axes::Unknown => Axes::Nchw(out_channels(&op)),
        _ => axes.with_channels(out_channels(&op)),
    };
    Ok((scope.push(node, op, vec![value]), axes))
}

/// Checks that channels are axis 1, as convolutions, normalizations and pools expect.
pub fn expect_channels_first(axes: Axes) -> Result<()> {
    match axes {
        // What follows an unknown operation is checked after that operation.
        Axes::Unknown => Ok(()),
        _ if axes.are_channels_first() => Ok(()),
        Axes::Nhwc(_) => Err(ImportError::unsupported("the operator expects NCHW and reads an NHWC image")
            .help("export the model again; a transpose seems to be missing")),
        _ => Err(ImportError::unsupported("the channels are not axis 1").help("export the model again")),
    }
}

/// Returns the number of output channels of a convolution or a dense layer.
pub fn out_channels(op: &Op<'_>) -> usize {
    let kernel = match op {
        Op::Conv(conv) => &conv.kernel,
        Op::Dense(dense) => &dense.kernel,
        _ => return 0,
    };
    kernel.shape().last().copied().unwrap_or(0)
}

/// Translates the attributes of a convolution with this weight and bias.
pub fn conv<'a>(attributes: Attributes<'_>, weight: Shared<'a>, bias: Option<Shared<'a>>) -> Result<Op<'a>> {
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
        bias,
        groups: usize::try_from(groups).map_err(|_| ImportError::malformed(format!("group is {groups}")))?,
        stride: attributes.pair("strides")?,
        dilation: attributes.pair("dilations")?,
        pads,
    }))
}

/// Translates ONNX Runtime's convolution with a sum or an activation, which its offline optimization writes.
pub fn fused_conv<'a>(scope: &mut Scope<'a>, node: &'a proto::Node) -> Result<()> {
    let added = scope.slot(node, 3)?.map(|_| scope.data(node, 3)).transpose()?;
    let (mut value, axes) = float_conv(scope, node)?;
    if let Some((other, of_other)) = added {
        axes.check_sum(of_other)?;
        value = scope.push(node, Op::Add, vec![value, other]);
    }
    let attributes = Attributes(&node.attribute);
    let params = attributes.get("activation_params").map_or(&[][..], |attribute| &attribute.floats);
    activated(scope, node, (value, axes), attributes.string("activation").as_deref(), params)
}

/// Binds a value after the activation of a fused operator.
fn activated<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    (value, axes): (Value, Axes),
    name: Option<&str>,
    params: &[f32],
) -> Result<()> {
    let [low, high] = match (name, params) {
        (None | Some(""), _) => return scope.name(node, Slot::Data { value, axes }),
        (Some("Relu"), _) => [0.0, f64::INFINITY],
        (Some("Clip"), &[low, high]) => [bound(low), bound(high)],
        (Some(name), _) => {
            return Err(
                ImportError::unsupported(format!("the fused activation is {}", shorten(name))).expected("Relu or Clip")
            );
        }
    };
    scope.emit(node, Op::Clamp { low, high }, vec![value], axes)
}

/// Translates a batch normalization at inference.
pub fn batch_norm<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes) = scope.data(node, 0)?;
    expect_channels_first(axes)?;
    let has_statistics = node.output.iter().skip(1).any(|name| !name.is_empty());
    if attributes.int("training_mode", 0) != 0 || has_statistics {
        return Err(ImportError::unsupported("the batch normalization is in training mode")
            .help("export the model in evaluation mode (`model.eval()`)"));
    }
    if attributes.int("spatial", 1) != 1 {
        return Err(ImportError::unsupported("the batch normalization has statistics for each position")
            .expected("one mean and variance per channel"));
    }
    let epsilon = attributes.float("epsilon", 1e-5);
    let op = Op::BatchNorm(BatchNorm {
        gamma: scope.required(node, 1)?,
        beta: scope.required(node, 2)?,
        mean: scope.required(node, 3)?,
        variance: scope.required(node, 4)?,
        epsilon: decimal(epsilon),
    });
    scope.emit(node, op, vec![value], axes)
}

pub fn clamp<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, low: f64, high: f64) -> Result<()> {
    scope.unary(node, Op::Clamp { low, high })
}

/// Converts the largest float, which exporters write for "no bound", to infinity.
pub fn bound(value: f32) -> f64 {
    if value.abs() >= f32::MAX { f64::from(value.signum()) * f64::INFINITY } else { f64::from(value) }
}

/// Returns height and width of the window of an average pool without padding.
pub fn pool_window(attributes: Attributes<'_>) -> Result<[usize; 2]> {
    let auto_pad = attributes.string("auto_pad");
    if attributes.pads()? != [0; 4] || !matches!(auto_pad.as_deref(), None | Some("NOTSET" | "VALID")) {
        return Err(ImportError::unsupported("the average pool is padded").expected("no padding"));
    }
    if attributes.pair("dilations")? != [1, 1] {
        return Err(ImportError::unsupported("the average pool is dilated").expected("no dilation"));
    }
    attributes.pair("kernel_shape")
}

/// Translates an average pool of floats, over the image or over windows.
pub fn pool<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, window: Option<[usize; 2]>) -> Result<()> {
    let (value, axes) = scope.data(node, 0)?;
    expect_channels_first(axes)?;
    scope.emit(node, Op::Pool { window }, vec![value], axes.pooled(true))
}

/// Translates a Gemm, a MatMul or ONNX Runtime's FusedGemm of floats.
pub fn float_dense<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes) = scope.data(node, 0)?;
    let is_gemm = node.op_type != "MatMul";
    let weight = scope.required(node, 1)?;
    let bias = if is_gemm { gemm_bias(scope, node, attributes, &weight)? } else { None };
    let op = dense(attributes, axes, weight, bias)?;
    let axes = axes.multiplied(out_channels(&op), is_gemm);
    let value = scope.push(node, op, vec![value]);
    if node.op_type != "FusedGemm" {
        return scope.name(node, Slot::Data { value, axes });
    }
    activated(scope, node, (value, axes), attributes.string("activation").as_deref(), &[])
}

/// Returns the bias of a Gemm times beta: one value for each column.
fn gemm_bias<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    attributes: Attributes<'_>,
    weight: &Constant<'_>,
) -> Result<Option<Shared<'a>>> {
    let Some(bias) = scope.constant(node, 2)? else { return Ok(None) };
    let beta = f64::from(attributes.float("beta", 1.0));
    let columns = weight.shape().get(usize::from(attributes.int("transB", 0) == 0)).copied().unwrap_or(0);
    if beta == 1.0 && bias.shape() == [columns] {
        return Ok(Some(bias));
    }
    if beta == 1.0 && bias.quantization().is_some() {
        // Quantized biases keep their integers.
        return Err(ImportError::unsupported("the bias is not a vector").found(display_shape(bias.shape())));
    }
    let is_row = bias.len() == columns && bias.shape().last() == Some(&columns);
    if !bias.is_real() || !(is_row || bias.len() == 1) {
        return Err(ImportError::unsupported("the bias does not fit the matrix")
            .expected(format!("{columns} floats"))
            .found(display_shape(bias.shape())));
    }
    scope.spend(columns)?;
    let values: Vec<f64> = bias.to_f64().iter().cycle().take(columns).map(|value| value * beta).collect();
    Ok(Some(Rc::new(Constant::new(vec![columns], Values::F64(values.into()))?)))
}

/// Translates the product of an activation with these axes and the matrix `weight`. A MatMul has none of the attributes of
/// a Gemm.
pub fn dense<'a>(
    attributes: Attributes<'_>,
    axes: Axes,
    weight: Shared<'a>,
    bias: Option<Shared<'a>>,
) -> Result<Op<'a>> {
    if !axes.are_channels_last() {
        return Err(ImportError::unsupported("the matrix product is not over the channels")
            .expected("channels in the last axis")
            .help("export the model again; a flatten or reshape seems to be missing"));
    }
    if weight.shape().len() != 2 {
        return Err(ImportError::unsupported("the weight is not a matrix")
            .expected("2 dimensions")
            .found(display_shape(weight.shape())));
    }
    if attributes.int("transA", 0) != 0 {
        return Err(ImportError::unsupported("transA is set").expected("transA = 0"));
    }
    let order = if attributes.int("transB", 0) == 0 { vec![0, 1] } else { vec![1, 0] };
    let kernel = Kernel { constant: weight, order, scale: f64::from(attributes.float("alpha", 1.0)) };
    Ok(Op::Dense(Dense { kernel, bias }))
}

/// Returns axes, or two numbers per axis.
pub fn axes_of(constant: &Constant<'_>) -> Result<Vec<i64>> {
    const MOST: usize = 16;
    if constant.len() > MOST {
        return Err(ImportError::unsupported(format!("{} values for axes", constant.len()))
            .expected("at most two for each of 4 axes"));
    }
    Ok(constant.to_i64())
}
