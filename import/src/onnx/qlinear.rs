//! Layers of quantized integers, as ONNX Runtime's quantizer writes them with `QuantFormat.QOperator`: QLinearConv and
//! QLinearMatMul of ONNX, and the others of `com.microsoft`
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).
//!
//! Each computes what the float operator computes between DequantizeLinear and QuantizeLinear, and is translated to it.

use mbvc_runtime::HeadActivation;

use super::proto;
use super::quantize::{bias, integers, result, weight};
use super::scope::{Layout, Scope};
use super::tensor::Attributes;
use super::{layers, softmax};
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
    let (value, layout, scale) = integers(scope, node, [0, 1, 2])?;
    let (op, inputs, layout, at) = match node.op_type.as_str() {
        "QLinearConv" => {
            check_layout(attributes, layout)?;
            let weight = weight(scope, node, [3, 4, 5], 0)?;
            let bias = bias(scope, node, 8, scale, &weight)?;
            (layers::conv(attributes, weight, bias)?, vec![value], layout, [6, 7])
        }
        "QLinearMatMul" => {
            let weight = weight(scope, node, [3, 4, 5], 1)?;
            (layers::dense(Attributes(&[]), weight, None)?, vec![value], Layout::Flat, [6, 7])
        }
        "QGemm" => {
            let columns = usize::from(attributes.int("transB", 0) == 0);
            let weight = weight(scope, node, [3, 4, 5], columns)?;
            let bias = bias(scope, node, 6, scale, &weight)?;
            (layers::dense(attributes, weight, bias)?, vec![value], Layout::Flat, [7, 8])
        }
        "QLinearAdd" => {
            let (other, of_other, _) = integers(scope, node, [3, 4, 5]).map_err(|error| {
                error.help(
                    "quantize with `quant_format=QuantFormat.QDQ`; for a bias, export Gemm instead of MatMul and Add",
                )
            })?;
            if of_other != layout {
                return scope.other(node, Op::Other);
            }
            (Op::Add, vec![value, other], layout, [6, 7])
        }
        "QLinearGlobalAveragePool" => {
            check_layout(attributes, layout)?;
            (Op::Pool { window: None }, vec![value], Layout::Flat, [3, 4])
        }
        "QLinearAveragePool" => {
            check_layout(attributes, layout)?;
            (Op::Pool { window: Some(layers::pool_window(attributes)?) }, vec![value], layout, [3, 4])
        }
        "QLinearReduceMean" => {
            layers::check_spatial(attributes.ints("axes").unwrap_or_default(), layout)?;
            (Op::Pool { window: None }, vec![value], Layout::Flat, [3, 4])
        }
        "QLinearSigmoid" => (Op::Scores(HeadActivation::Sigmoid), vec![value], layout, [3, 4]),
        _ => {
            let joined = attributes.int("opset", scope.opset) < 13;
            softmax::check(attributes, layout, joined)?;
            (Op::Scores(HeadActivation::Softmax), vec![value], layout, [3, 4])
        }
    };
    let computed: Value = scope.push(node, op, inputs);
    result(scope, node, (computed, layout), at)
}

/// Checks that the operator's layout, NCHW unless `channels_last` is set, is that of its input.
fn check_layout(attributes: Attributes<'_>, layout: Layout) -> Result<()> {
    let expected = if attributes.int("channels_last", 0) == 0 { Layout::Nchw } else { Layout::Nhwc };
    if layout == Layout::Flat || layout == expected {
        return Ok(());
    }
    Err(ImportError::unsupported(format!("the operator expects {expected:?} and reads {layout:?}"))
        .help("export the model again; a transpose seems to be missing"))
}
