//! ONNX -> [`SourceGraph`].
//!
//! The role of a weight follows from the graph's edges; names of tensors and nodes are not relied on.

mod axes;
mod cast;
mod copies;
mod evaluate;
mod external;
mod guard;
mod layers;
mod live;
mod mean;
mod nodes;
mod proto;
mod qlinear;
mod quantize;
mod reshape;
mod reverse;
mod scope;
mod subgraph;
mod tensor;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use prost::Message;

use crate::error::{ImportError, Result};
use crate::source::{DType, Fact, Format, Hints, MAX_NODES, Node, Op, Output, SourceGraph};
use crate::text::shorten;
use scope::{Axes, Scope, Slot};

pub use external::load as load_external_data;
pub use proto::Model;
#[cfg(test)]
pub use proto::{Attribute, Node as Operator, Tensor, ValueInfo};

/// Supported versions of the operators. Earlier ones broadcast by attributes and train by default; the meaning of later ones is
/// unknown.
const OPSETS: RangeInclusive<i64> = 7..=28;

/// Decodes the protobuf. The file is copied once; tensors borrow from that copy.
pub fn decode(bytes: &[u8]) -> Result<Model> {
    guard::check(bytes)?;
    Model::decode(Bytes::copy_from_slice(bytes)).map_err(|error| {
        ImportError::malformed(format!("invalid ONNX file: {error}"))
            .help("the file may be truncated or in another format; check it with `onnx.checker.check_model`")
    })
}

/// Translates the main graph. At most `most` elements of constants are computed.
pub fn read(model: &Model, most: usize) -> Result<SourceGraph<'_>> {
    let graph = model.graph.as_ref().ok_or_else(|| {
        ImportError::malformed("not an ONNX model: the graph is missing")
            .help("the file may be truncated or in another format")
    })?;
    if graph.node.is_empty() {
        return Err(ImportError::malformed("the ONNX graph has no nodes").help("the file may be truncated"));
    }
    if graph.node.len() > MAX_NODES {
        return Err(ImportError::unsupported(format!("the graph has {} nodes", graph.node.len()))
            .expected(format!("at most {MAX_NODES}")));
    }
    let stored: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<_> = graph.input.iter().filter(|input| !stored.contains(input.name.as_str())).collect();
    let [input] = inputs.as_slice() else {
        let names: Vec<_> = inputs.iter().take(8).map(|input| format!("'{}'", shorten(&input.name))).collect();
        return Err(ImportError::unsupported("the model does not have exactly one input")
            .expected("one image")
            .found(format!("{} inputs {}", inputs.len(), names.join(", "))));
    };
    let opset = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    let opset = opset.map_or(0, |set| set.version);
    if !OPSETS.contains(&opset) {
        return Err(ImportError::unsupported(format!("the model has opset {opset}"))
            .expected(format!("opset {} to {}", OPSETS.start(), OPSETS.end()))
            .help("export it with another `opset_version`, or convert it with `onnx.version_converter`"));
    }
    let (is_nhwc, [images, height, width, channels]) = image(graph, input)?;
    let mut scope = Scope::new(opset, images.unwrap_or(1), most);
    scope.image = [height, width, channels];
    for tensor in &graph.initializer {
        scope.bind(&tensor.name, Slot::stored(tensor))?;
    }
    scope.sparse = graph.sparse_initializer.iter().map(proto::SparseTensor::name).collect();
    let value = scope.fresh();
    let kind = input.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref()).map(|tensor| tensor.elem_type);
    let dtype = match kind {
        Some(2) => Some(DType::U8),
        Some(3) => Some(DType::I8),
        None | Some(0 | 1 | 10 | 11 | 16) => None,
        Some(other) => {
            return Err(ImportError::unsupported("the image has an unsupported element type")
                .at(format!("input '{}'", shorten(&input.name)))
                .expected("floats, uint8 or int8")
                .found(tensor::type_name(other)));
        }
    };
    let axes = if is_nhwc { Axes::Nhwc } else { Axes::Nchw }(channels.unwrap_or(3));
    let slot = match dtype {
        Some(dtype) => Slot::Integers { value, axes, dtype, quantization: None },
        None => Slot::Data { value, axes },
    };
    scope.bind(&input.name, slot)?;
    let live = live::live(graph)?;
    let nodes = live.iter().filter_map(|&at| graph.node.get(at));
    check_operators(model, nodes.clone())?;
    for node in nodes {
        nodes::read(&mut scope, node)?;
    }
    let mut facts = live::ignored(graph, &live);
    let outputs = outputs(graph, &mut scope, &mut facts)?;
    if scope.nodes.iter().any(has_half_weights) {
        scope.notes.push(
            "the weights are float16 and are converted to float32 exactly; the network computes in float32, so scores \
             may differ from the original by float16 rounding"
                .into(),
        );
    } else if scope.has_half_casts {
        scope.notes.push(
            "the model casts values to float16 or bfloat16; the network computes in float32, so scores may differ from the \
             original by this rounding"
                .into(),
        );
    }
    let producer = format!("{} {}", shorten(&model.producer_name), shorten(&model.producer_version));
    Ok(SourceGraph {
        format: Format::Onnx,
        producer: producer.trim().to_owned(),
        input: value,
        input_shape: [height, width, channels],
        input_quantization: scope.pixels,
        nodes: scope.nodes,
        outputs,
        quants: scope.quants,
        holders: scope.holders,
        hints: Hints { facts, ..Hints::default() },
        notes: scope.notes,
    })
}

/// Checks that the model imports the operator sets of these nodes, and does not define their operators itself.
fn check_operators<'a>(model: &'a Model, nodes: impl Iterator<Item = &'a proto::Node>) -> Result<()> {
    let domain_of = |domain: &'a str| if domain == "ai.onnx" { "" } else { domain };
    let domains: HashSet<&str> = model.opset_import.iter().map(|set| domain_of(&set.domain)).collect();
    let functions: HashSet<_> = model.functions.iter().map(|of| (domain_of(&of.domain), of.name.as_str())).collect();
    for node in nodes {
        let place = || scope::place(node).text();
        if !domains.contains(domain_of(&node.domain)) {
            return Err(ImportError::malformed(format!(
                "the model does not import the domain '{}'",
                shorten(&node.domain)
            ))
            .at(place())
            .help("the file may be truncated; check it with `onnx.checker.check_model`"));
        }
        if functions.contains(&(domain_of(&node.domain), node.op_type.as_str())) {
            return Err(ImportError::unsupported("the operator is a function that the model defines")
                .at(place())
                .help("inline it: `onnx.save(onnx.inliner.inline_local_functions(onnx.load(path)), path)`"));
        }
    }
    Ok(())
}

/// Whether the node is a layer with float16 or bfloat16 weights.
fn has_half_weights(node: &Node<'_>) -> bool {
    let kernel = match &node.op {
        Op::Conv(conv) => &conv.kernel,
        Op::Dense(dense) => &dense.kernel,
        _ => return false,
    };
    matches!(kernel.constant.dtype(), Some(DType::F16 | DType::Bf16))
}

/// Returns the outputs that depend on the image, and adds the others to `ignored`.
fn outputs<'a>(graph: &'a proto::Graph, scope: &mut Scope<'a>, ignored: &mut Vec<Fact>) -> Result<Vec<Output<'a>>> {
    let mut outputs = Vec::new();
    for proto::ValueInfo { name, .. } in &graph.output {
        match scope.named(name) {
            Some(slot @ (Slot::Data { value, .. } | Slot::Integers { value, .. })) => {
                let (value, is_float) = (*value, matches!(slot, Slot::Data { .. }) && !scope.is_dequantized(name));
                outputs.push(Output { name: name.into(), value });
                if is_float {
                    scope.quants.return_as_float(value, format!("output '{}'", shorten(name)));
                }
            }
            Some(Slot::Stored(_) | Slot::Constant(_) | Slot::Sizes(_) | Slot::Computed) => ignored.push(Fact {
                key: "ignored",
                value: format!("output '{}'", shorten(name)),
                how: "it does not depend on the image".into(),
            }),
            None => {
                return Err(ImportError::malformed(format!("no operation produces the output '{}'", shorten(name))));
            }
        }
    }
    Ok(outputs)
}

/// Returns whether the input is NHWC, and the number of images, height, width and channels if fixed.
fn image(graph: &proto::Graph, input: &proto::ValueInfo) -> Result<(bool, [Option<usize>; 4])> {
    let shape = input.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref()?.shape.as_ref());
    let sizes: Vec<Option<usize>> = shape.map_or(vec![None; 4], |shape| {
        shape
            .dim
            .iter()
            .map(|dimension| match dimension.value {
                Some(proto::DimensionValue::Size(size)) => usize::try_from(size).ok().filter(|&size| size > 0),
                _ => None,
            })
            .collect()
    });
    let &[images, second, third, fourth] = sizes.as_slice() else {
        return Err(ImportError::unsupported("the input is not a batch of images")
            .at(format!("input '{}'", shorten(&input.name)))
            .expected("4 dimensions, [N, channels, height, width] or [N, height, width, channels]")
            .found(format!("{} dimensions", sizes.len())));
    };
    // An NHWC model from TensorFlow starts with a transpose, because ONNX convolutions are NCHW.
    let transposed = graph.node.iter().any(|node| {
        node.op_type == "Transpose"
            && node.input.first() == Some(&input.name)
            && node.attribute.iter().any(|attribute| attribute.name == "perm" && attribute.ints == [0, 3, 1, 2])
    });
    let is_color = |size| matches!(size, Some(1 | 3));
    Ok(if transposed || (!is_color(second) && is_color(fourth)) {
        (true, [images, second, third, fourth])
    } else {
        (false, [images, third, fourth, second])
    })
}
