//! The parts of a network that quantization assigns scales to: values, layers and adds.

use std::collections::BTreeMap;

use mbvc_compiler::ir::{Activation, Graph, Op, ParamId};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{DEFAULT_ROUNDING, Fusion, NetworkSpec, Precision, Rounding};

use crate::error::{ImportError, Result};

/// Role of a value in the network, which constrains its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The input image, whose range is that of preprocessed pixels.
    Input,
    /// Output of an activation: never below 0.
    Activated(Activation),
    /// Of both signs: projections, adds and the pool.
    Linear,
    /// Output of the classifier, never clipped because its greatest element is the result.
    Logits,
}

/// A value with a scale and a zero point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Name in the weights file: `block2.expand`, `head.pool`.
    pub name: String,
    /// Role in the network.
    pub role: Role,
    /// Name of the node that produces it, in the float32 graph and in the quantized one.
    pub(super) node: String,
    /// Number of channels, the last dimension of NHWC.
    pub(super) channels: usize,
}

/// A convolution or the classifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub name: String,
    /// Shape of the weights in canonical layout: `[kh, kw, in, out]`, `[kh, kw, channels]` or `[in, out]`.
    pub shape: Vec<usize>,
    pub depthwise: bool,
    /// Indices of the values that it reads and produces.
    pub input: usize,
    pub output: usize,
}

/// A residual add of two values, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    pub operands: [usize; 2],
    pub result: usize,
}

/// A network in float32 and in int8.
#[derive(Debug, Clone)]
pub struct Network {
    float_spec: NetworkSpec,
    rounding: Rounding,
    pub(super) float: Graph,
    pub(super) integer: Graph,
    values: Vec<Value>,
    layers: Vec<Layer>,
    adds: Vec<Sum>,
}

impl Network {
    /// Builds the network of `spec` in both precisions. Integers are rounded as a quantized spec requests, or as in XNNPACK
    /// for a float32 spec.
    ///
    /// # Errors
    /// If a pass of the compiler broke the graph, which is a bug.
    pub fn new(spec: &NetworkSpec) -> Result<Self> {
        let float_spec =
            NetworkSpec { precision: Precision::F32, precision_place: None, rounding: None, ..spec.clone() };
        let rounding = spec.rounding.unwrap_or(DEFAULT_ROUNDING);
        let integer_spec = NetworkSpec { precision: Precision::Int8, rounding: Some(rounding), ..float_spec.clone() };
        let mut float = lower(&float_spec);
        // Unfused, so that every value can be observed; folded, as the weights in the container are.
        passes::run(&mut float, Fusion::None, None, &mut |_, _| {})
            .map_err(|broken| ImportError::malformed(broken.to_string()).help("please report this, with the spec"))?;
        let integer = lower(&integer_spec);
        let mut network =
            Self { float_spec, rounding, float, integer, values: Vec::new(), layers: Vec::new(), adds: Vec::new() };
        network.collect();
        Ok(network)
    }

    /// Returns the spec that the float32 weights must fit.
    pub fn float_spec(&self) -> &NetworkSpec {
        &self.float_spec
    }

    /// Returns the rounding of the integers: that of a quantized spec, or XNNPACK's.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Returns the values in order of execution, from the input to the logits.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(super) fn adds(&self) -> &[Sum] {
        &self.adds
    }

    /// Returns the index of the value that this node produces, or `None` for a sum before its activation.
    pub(super) fn place(&self, node: &str) -> Option<usize> {
        self.values.iter().position(|value| value.node == node)
    }

    /// Collects values, layers and adds from the quantized graph. Nodes that share a scale are one value, which the last
    /// of them produces.
    fn collect(&mut self) {
        let Self { integer: graph, values, layers, adds, .. } = self;
        let mut places: BTreeMap<ParamId, usize> = BTreeMap::new();
        for id in graph.order().unwrap_or_default() {
            let node = graph.node(id);
            let Some(quant) = node.tensor.quant else { continue };
            let role = match node.op {
                Op::Input => Role::Input,
                Op::Activation(kind) => Role::Activated(kind),
                Op::Dense(_) => Role::Logits,
                _ => Role::Linear,
            };
            let (producer, channels) = (node.origin.name.clone(), node.tensor.shape.channels);
            let place = *places.entry(quant.scale).or_insert_with(|| {
                let scale = &graph.param(quant.scale).name;
                let name = scale.strip_suffix(".scale").unwrap_or(scale).to_owned();
                values.push(Value { name, role, node: String::new(), channels });
                values.len() - 1
            });
            values[place].role = role;
            values[place].node.clone_from(&producer);
            let read: Vec<usize> = graph
                .inputs(id)
                .into_iter()
                .filter_map(|input| places.get(&graph.node(input).tensor.quant?.scale).copied())
                .collect();
            let weight = match &node.op {
                Op::Conv2d(conv) => Some((conv.weight, false)),
                Op::DepthwiseConv2d(conv) => Some((conv.weight, true)),
                Op::Dense(dense) => Some((dense.weight, false)),
                _ => None,
            };
            match (weight, read.as_slice()) {
                (Some((weight, depthwise)), &[input]) => {
                    let shape = graph.param(weight).shape.clone();
                    layers.push(Layer { name: producer, shape, depthwise, input, output: place });
                }
                (None, &[left, right]) if matches!(node.op, Op::Add) => {
                    adds.push(Sum { operands: [left, right], result: place });
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::container::Container;
    use crate::tensor::{Data, Tensor};
    use mbvc_compiler::SourceFile;
    use mbvc_compiler::spec::parse;

    pub fn spec(more: &str) -> NetworkSpec {
        let text = format!(
            "resolution: 16\nclasses: 5\nstem: {{ channels: 8, stride: 2 }}\nblocks:\n\
             - {{ t: 1, c: 8, n: 1, s: 1 }}\n- {{ t: 2, c: 16, n: 2, s: 2 }}\nhead: {{ channels: 24 }}\n{more}"
        );
        parse(&SourceFile::new("test.yaml", text)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// Pseudo-random weights for the network's float32 graph.
    pub fn float_weights(network: &Network) -> Container {
        let graph = &network.float;
        let mut state = 7_u32;
        let tensors = graph.used_params().into_iter().map(|id| {
            let param = graph.param(id);
            let count: usize = param.shape.iter().product();
            let products = count / param.shape.last().copied().unwrap_or(1).max(1);
            let spread = if param.name.ends_with(".bias") { 0.5 } else { 2.0 / (products as f32).sqrt() };
            let values = (0..count).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 8) as f32 / 8_388_608.0 - 1.0) * spread
            });
            Tensor { name: param.name.clone(), shape: param.shape.clone(), data: Data::F32(values.collect()) }
        });
        let metadata = [
            ("mbvc.format", "1"),
            ("mbvc.activation", "relu6"),
            ("mbvc.padding", "same"),
            ("mbvc.precision", "f32"),
            ("mbvc.classes", "5"),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Container { tensors: tensors.collect(), metadata }
    }

    #[test]
    fn values_layers_and_adds_have_container_names() {
        let network = Network::new(&spec("")).unwrap();
        let values: Vec<_> = network.values().iter().map(|value| value.name.as_str()).collect();
        assert_eq!(
            values,
            [
                "input",
                "stem",
                "block1.depthwise",
                "block1.project",
                "block1.add",
                "block2.expand",
                "block2.depthwise",
                "block2.project",
                "block3.expand",
                "block3.depthwise",
                "block3.project",
                "block3.add",
                "head",
                "head.pool",
                "classifier"
            ]
        );
        let role = |name: &str| network.values().iter().find(|value| value.name == name).unwrap().role;
        assert_eq!(role("input"), Role::Input);
        assert_eq!(role("stem"), Role::Activated(Activation::Relu6));
        assert_eq!(role("block1.project"), Role::Linear);
        assert_eq!(role("classifier"), Role::Logits);
        let named = |at: usize| network.values()[at].name.as_str();
        let adds: Vec<_> = network.adds().iter().map(|add| (add.operands.map(named), named(add.result))).collect();
        assert_eq!(
            adds,
            [(["block1.project", "stem"], "block1.add"), (["block3.project", "block2.project"], "block3.add")]
        );
        let layers: Vec<_> = network.layers().iter().map(|layer| (&*layer.name, named(layer.input))).collect();
        assert_eq!(layers.len(), 11);
        assert_eq!(layers[3], ("block2.expand", "block1.add"));
        assert_eq!(network.layers()[3].shape, [1, 1, 8, 16]);
        assert_eq!(layers[10], ("classifier", "head.pool"));
    }

    #[test]
    fn float_and_quantized_specs_have_the_same_values() {
        let quantized = Network::new(&spec("precision: int8\nrounding: tflite-reference\n")).unwrap();
        let plain = Network::new(&spec("")).unwrap();
        assert_eq!(quantized.values(), plain.values());
        assert_eq!(quantized.float_spec().precision, Precision::F32);
        assert_eq!((quantized.rounding(), plain.rounding()), (Rounding::TfliteReference, Rounding::Xnnpack));
    }
}
