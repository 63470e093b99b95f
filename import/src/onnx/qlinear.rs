//! Layers of quantized integers, as ONNX Runtime's quantizer writes them with `QuantFormat.QOperator`: QLinearConv and
//! QLinearMatMul of ONNX, and the others of `com.microsoft`
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).
//!
//! Each computes what the float operator computes between DequantizeLinear and QuantizeLinear, and is translated to it.

use mbvc_runtime::HeadActivation;

use super::layers;
use super::mean::mean_over;
use super::proto;
use super::quantize::{bias, integers, result, weight};
use super::scope::{Axes, Scope, Slot};
use super::tensor::Attributes;
use crate::error::{ImportError, Result};
use crate::source::{Op, Value};

/// Whether `node` is one of these operators.
pub fn is_operator(node: &proto::Node) -> bool {
    let is_layer = matches!(node.op_type.as_str(), "QLinearConv" | "QLinearMatMul");
    let is_contributed = matches!(
        node.op_type.as_str(),
        "QGemm"
            | "QLinearAdd"
            | "QLinearAveragePool"
            | "QLinearConv"
            | "QLinearGlobalAveragePool"
            | "QLinearReduceMean"
            | "QLinearSigmoid"
            | "QLinearSoftmax"
    );
    match node.domain.as_str() {
        "" | "ai.onnx" => is_layer,
        "com.microsoft" => is_contributed,
        _ => false,
    }
}

/// Translates the node. Inputs are a value, its scale and its zero point, then those of other operands and of the result.
pub fn read<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    // The output of an unknown operator is passed on; that operator is reported later.
    let (operands, unknown) = match node.op_type.as_str() {
        "QLinearAdd" => (&[0, 3][..], Op::Add),
        _ => (&[0][..], Op::Other),
    };
    for at in operands {
        if let Some(Slot::Data { value, .. }) = scope.slot(node, *at)?
            && scope.is_unknown(value)
        {
            return scope.other(node, unknown);
        }
    }
    let (value, axes, scale) = integers(scope, node, [0, 1, 2])?;
    let (op, inputs, axes, at) = match node.op_type.as_str() {
        "QLinearConv" => {
            expect_layout(attributes, axes)?;
            let weight = weight(scope, node, [3, 4, 5], 0)?;
            let bias = bias(scope, node, 8, scale, &weight)?;
            let op = layers::conv(attributes, weight, bias)?;
            let axes = axes.with_channels(layers::out_channels(&op));
            (op, vec![value], axes, [6, 7])
        }
        "QLinearMatMul" | "QGemm" => {
            let is_gemm = node.op_type == "QGemm";
            let attributes = if is_gemm { attributes } else { Attributes(&[]) };
            let columns = usize::from(attributes.int("transB", 0) == 0);
            let weight = weight(scope, node, [3, 4, 5], columns)?;
            // The factor is that of the sum: the unit of the bias includes it.
            let unit = scale * f64::from(attributes.float("alpha", 1.0));
            let bias = if is_gemm { bias(scope, node, 6, unit, &weight)? } else { None };
            let op = layers::dense(attributes, axes, weight, bias)?;
            let axes = axes.multiplied(layers::out_channels(&op), is_gemm);
            (op, vec![value], axes, if is_gemm { [7, 8] } else { [6, 7] })
        }
        "QLinearAdd" => {
            let (other, of_other, _) = integers(scope, node, [3, 4, 5]).map_err(|error| {
                error.help(
                    "quantize with `quant_format=QuantFormat.QDQ`; for a bias, export Gemm instead of MatMul and Add",
                )
            })?;
            axes.check_sum(of_other)?;
            (Op::Add, vec![value, other], axes, [6, 7])
        }
        "QLinearGlobalAveragePool" => {
            expect_layout(attributes, axes)?;
            (Op::Pool { window: None }, vec![value], axes.pooled(true), [3, 4])
        }
        "QLinearAveragePool" => {
            expect_layout(attributes, axes)?;
            (Op::Pool { window: Some(layers::pool_window(attributes)?) }, vec![value], axes.pooled(true), [3, 4])
        }
        "QLinearReduceMean" => {
            let keeps_rank = attributes.int("keepdims", 1) != 0;
            let axes = mean_over(axes, attributes.ints("axes").unwrap_or_default(), keeps_rank)?;
            (Op::Pool { window: None }, vec![value], axes, [3, 4])
        }
        "QLinearSigmoid" => (Op::Scores(HeadActivation::Sigmoid), vec![value], axes, [3, 4]),
        _ => {
            let joined = attributes.int("opset", scope.opset) < 13;
            axes.check_softmax(attributes.int("axis", if joined { 1 } else { -1 }), joined)?;
            (Op::Scores(HeadActivation::Softmax), vec![value], axes, [3, 4])
        }
    };
    let computed: Value = scope.push(node, op, inputs);
    result(scope, node, (computed, axes), at)
}

/// Checks that the operator's layout, NCHW unless `channels_last` is set, is that of its input.
fn expect_layout(attributes: Attributes<'_>, axes: Axes) -> Result<()> {
    if attributes.int("channels_last", 0) == 0 {
        return layers::expect_channels_first(axes);
    }
    match axes {
        Axes::Nchw(_) => Err(ImportError::unsupported("the operator expects NHWC and reads an NCHW image")
            .help("export the model again; a transpose seems to be missing")),
        _ if axes.are_channels_last() => Ok(()),
        _ => Err(ImportError::unsupported("the channels are not the last axis").help("export the model again")),
    }
}
