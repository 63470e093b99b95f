//! Element types and quantization parameters.
//!
//! | operation                  | rule                                                                                 |
//! |----------------------------|--------------------------------------------------------------------------------------|
//! | any quantized              | inputs and result have one element type; values have scale and zero point             |
//! | any other                  | bf16 inputs only for products with bf16 factors, activations, repacks and residuals   |
//! | convolution, dense         | requantizes if and only if quantized: weights of the values' type, bias int32         |
//! | without residual or pool   | the result has the quantization of the requantization                                 |
//! | activation, repack         | keeps the quantization                                                                |
//! | batch normalization        | is float32                                                                            |

use super::site::{self, Site};
use super::{Findings, Invariant};
use crate::ir::infer::quant_params;
use crate::ir::{ElementType, Factors, Graph, Op, ParamId, Tensor};

pub fn check(graph: &Graph, found: &mut Findings) {
    for id in graph.ids().filter(|id| matches!(graph.node(*id).op, Op::Input)) {
        for message in value(graph, graph.node(id).tensor) {
            found.at(Invariant::Quantization, graph, id, message);
        }
    }
    for site in site::all(graph).into_iter().filter(|site| !matches!(site.op, Op::Input)) {
        let messages = value(graph, site.output).into_iter().chain(types(&site)).chain(operation(graph, &site));
        for message in messages {
            found.named(Invariant::Quantization, &site.origin.name, Some(site.origin.line), message);
        }
    }
}

/// Checks a single value.
fn value(graph: &Graph, Tensor { element, quant, .. }: Tensor) -> Vec<String> {
    match (element.is_quantized(), quant) {
        (true, None) => vec![format!("produces {} without a scale", element.name())],
        (false, Some(_)) => vec![format!("produces {} with a scale", element.name())],
        (false, None) if !matches!(element, ElementType::F32 | ElementType::Bf16) => {
            vec![format!("produces {}, which is not a type of values", element.name())]
        }
        (false, None) => Vec::new(),
        (true, Some(quant)) => {
            let expected = [(quant.scale, ElementType::F32), (quant.zero_point, ElementType::I32)];
            expected.into_iter().filter_map(|(id, element)| param(graph, id, element, Some(&[1]))).collect()
        }
    }
}

fn types(site: &Site<'_>) -> Option<String> {
    let element = site.output.element;
    let elements = || site.inputs.iter().map(|input| input.element);
    if element.is_quantized() || elements().any(ElementType::is_quantized) {
        let other = elements().find(|input| *input != element)?;
        return Some(format!("produces {} from {}", element.name(), other.name()));
    }
    let expected = match site.op {
        Op::Activation(_) | Op::Repack => element,
        op if op.factors() == Factors::Bf16 => ElementType::Bf16,
        _ => ElementType::F32,
    };
    let input = elements().next().filter(|input| *input != expected)?;
    Some(format!("reads {}, expected {}", input.name(), expected.name()))
}

fn operation(graph: &Graph, site: &Site<'_>) -> Vec<String> {
    let Tensor { element, quant, shape, .. } = site.output;
    let layer = match site.op {
        Op::Conv2d(conv) => Some((conv.weight, conv.bias)),
        Op::DepthwiseConv2d(conv) => Some((conv.weight, conv.bias)),
        Op::Dense(dense) => Some((dense.weight, Some(dense.bias))),
        Op::Activation(_) | Op::Repack if site.inputs.iter().any(|input| input.quant != quant) => {
            return vec!["changes the quantization".to_owned()];
        }
        Op::BatchNorm(_) if element.is_quantized() => return vec!["normalizes quantized values".to_owned()],
        _ => None,
    };
    let Some((weight, bias)) = layer else { return Vec::new() };
    // Weights files have no bf16: it is rounded when weights are packed.
    let [weights, sums] = match element.is_quantized() {
        true => [element, ElementType::I32],
        false => [ElementType::F32; 2],
    };
    let mut broken: Vec<String> = param(graph, weight, weights, None).into_iter().collect();
    broken.extend(bias.and_then(|bias| param(graph, bias, sums, None)));
    match site.op.requantize() {
        None if element.is_quantized() => broken.push("does not requantize its sums".to_owned()),
        Some(_) if !element.is_quantized() => broken.push("requantizes float32".to_owned()),
        None => {}
        Some(requantize) => {
            if bias.is_none() {
                broken.push("has no bias".to_owned());
            }
            let further = site.op.epilogue().residual || site.op.epilogue().pool.is_some();
            if !further && quant != Some(requantize.output) {
                broken.push("has a quantization other than the one it requantizes to".to_owned());
            }
            let expected = quant_params(requantize, shape.channels);
            broken.extend(expected.iter().filter_map(|(id, element, shape)| param(graph, *id, *element, Some(shape))));
        }
    }
    broken
}

/// Checks a parameter. If `shape` is `None`, the operands report a missing parameter.
fn param(graph: &Graph, id: ParamId, element: ElementType, shape: Option<&[usize]>) -> Option<String> {
    let Some(param) = graph.get_param(id) else {
        return shape.map(|_| format!("names parameter {}, which does not exist", id.0));
    };
    if param.element != element {
        return Some(format!("expects {} for {}, found {}", element.name(), param.name, param.element.name()));
    }
    let shape = shape.filter(|shape| **shape != *param.shape)?;
    Some(format!("expects shape {shape:?} for {}, found {:?}", param.name, param.shape))
}
