//! Translation of convolutions, dense layers, normalizations and pools.

use std::rc::Rc;

use super::proto;
use super::scope::{Layout, Scope};
use super::tensor::{Attributes, axis_of, display, non_negative};
use crate::error::{ImportError, Result};
use crate::source::{BatchNorm, Constant, Conv, Dense, Kernel, Op, Pads, decimal};
use crate::text::{display_shape, shorten};

/// A constant that nodes may share.
type Shared<'a> = Rc<Constant<'a>>;

/// Translates a convolution of floats.
pub fn float_conv<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Op<'a>> {
    conv(attributes, scope.required(node, 1)?, scope.constant(node, 2)?)
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

/// Translates ONNX Runtime's convolution with activation, which its offline optimization writes.
pub fn fused_conv<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (input, layout) = scope.data(node, 0)?;
    let op = float_conv(scope, node, attributes)?;
    if scope.slot(node, 3)?.is_some() {
        return scope.other(node, Op::Other);
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

pub fn batch_norm<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Op<'a>> {
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

/// Translates a mean of floats over height and width.
pub fn reduce_mean<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, layout) = scope.data(node, 0)?;
    let axes = match attributes.ints("axes") {
        Some(axes) => axes.to_vec(),
        None => scope.constant(node, 1)?.map_or(Ok(vec![]), |axes| axes_of(&axes))?,
    };
    check_spatial(&axes, layout)?;
    // An image of one pixel has no layout.
    scope.emit(node, Op::Pool { window: None }, vec![value], Layout::Flat)
}

/// Checks that the axes of a mean are height and width.
pub fn check_spatial(axes: &[i64], layout: Layout) -> Result<()> {
    let mut spatial: Vec<_> = axes.iter().filter_map(|&axis| axis_of(axis, 4)).collect();
    spatial.sort_unstable();
    let expected = if layout == Layout::Nhwc { [1, 2] } else { [2, 3] };
    if spatial != expected || axes.len() != 2 {
        return Err(ImportError::unsupported("the mean is not over height and width")
            .expected(format!("axes {expected:?}"))
            .found(format!("axes {}", display(axes))));
    }
    Ok(())
}

/// Translates a Gemm or MatMul of floats.
pub fn float_dense<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, _) = scope.data(node, 0)?;
    let weight = scope.required(node, 1)?;
    let bias = if node.op_type == "Gemm" { scope.constant(node, 2)? } else { None };
    if bias.is_some() && attributes.float("beta", 1.0) != 1.0 {
        return Err(ImportError::unsupported(format!("beta is {}", attributes.float("beta", 1.0))).expected("beta = 1"));
    }
    let op = dense(attributes, weight, bias)?;
    scope.emit(node, op, vec![value], Layout::Flat)
}

/// Translates a product with the matrix `weight`. A MatMul has none of the attributes of a Gemm.
pub fn dense<'a>(attributes: Attributes<'_>, weight: Shared<'a>, bias: Option<Shared<'a>>) -> Result<Op<'a>> {
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
