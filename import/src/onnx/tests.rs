//! Whatever a file has beside the network is refused with its name, or reported as ignored.

mod constants;
mod conventions;
mod means;
mod subgraphs;

use prost::Message as _;

use super::decode;
use super::proto::{Attribute, Function, Model, Node, Tensor, ValueInfo};
use crate::error::Result;
use crate::{Imported, ReadOptions, read_bytes};

/// A fixture to modify.
struct File(Model);

fn node(operator: &str, reads: &[&str], makes: &str) -> Node {
    let input = reads.iter().map(|name| (*name).into()).collect();
    Node { op_type: operator.into(), name: "extra".into(), input, output: vec![makes.into()], ..Node::default() }
}

impl File {
    fn open(name: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let mut file = Self(decode(&std::fs::read(path).unwrap()).unwrap());
        let float = |name: &str, value: f32| Tensor {
            name: name.into(),
            data_type: 1,
            float_data: vec![value],
            ..Tensor::default()
        };
        file.graph().initializer.extend([float("extra.two", 2.0), float("extra.unread", 3.0)]);
        file
    }

    fn graph(&mut self) -> &mut super::proto::Graph {
        self.0.graph.as_mut().unwrap()
    }

    /// Returns the output of node `nth` with this operator.
    fn made_by(&mut self, operator: &str, nth: usize) -> String {
        let mut nodes = self.graph().node.iter().filter(|node| node.op_type == operator);
        nodes.nth(nth).unwrap_or_else(|| panic!("{operator} {nth}")).output[0].clone()
    }

    /// Inserts a node after the producer of `edge`.
    fn insert(&mut self, edge: &str, node: Node) {
        let nodes = &mut self.graph().node;
        let at = nodes.iter().position(|node| node.output.iter().any(|name| name == edge)).map_or(0, |at| at + 1);
        nodes.insert(at, node);
    }

    /// Inserts an operation that all readers of `edge` read instead.
    fn splice(mut self, edge: &str, operator: Node) -> Self {
        let graph = self.graph();
        for name in graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|name| *name == edge) {
            operator.output[0].clone_into(name);
        }
        for output in graph.output.iter_mut().filter(|output| output.name == edge) {
            operator.output[0].clone_into(&mut output.name);
        }
        self.insert(edge, operator);
        self
    }

    fn read(&self) -> Result<Imported> {
        read_bytes(&self.0.encode_to_vec(), "m.onnx", &ReadOptions::keep_quantization())
    }

    fn refused(&self) -> String {
        self.read().map(|imported| imported.facts).unwrap_err().to_string()
    }
}

fn ignored(imported: &Imported) -> Vec<String> {
    let facts = imported.facts.iter().filter(|fact| fact.key == "ignored");
    facts.map(|fact| format!("{}: {}", fact.value, fact.how)).collect()
}

const UNREAD: &str = "1 tensor: no operation reads: 'extra.unread'";

/// What happens to an operation at each place: before the network, inside it, after the logits, after the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// An error that names it.
    Refused,
    /// The same network.
    Same,
    /// A network with other numbers.
    Folded,
}

#[test]
fn an_operation_in_the_path_is_refused_or_computed() {
    use Outcome::{Folded, Refused, Same};
    let everywhere = |outcome| [outcome; 4];
    for (operator, outcomes) in [
        ("Identity", everywhere(Same)),
        ("Dropout", everywhere(Same)),
        // A factor alone does not show the range of the image, and an offset alone does not result in a range around 0.
        ("Mul", [Refused, Folded, Folded, Refused]),
        ("Add", [Refused, Folded, Folded, Refused]),
        ("Sub", [Refused, Folded, Folded, Refused]),
        ("Div", [Refused, Folded, Folded, Refused]),
        ("Pow", everywhere(Refused)),
        ("Relu", everywhere(Refused)),
        ("Clip", everywhere(Refused)),
        ("LeakyRelu", everywhere(Refused)),
        ("PRelu", everywhere(Refused)),
        ("HardSwish", everywhere(Refused)),
        ("Tanh", everywhere(Refused)),
        ("Sigmoid", everywhere(Refused)),
        ("Softmax", everywhere(Refused)),
        ("LogSoftmax", everywhere(Refused)),
        ("Exp", everywhere(Refused)),
        ("Neg", everywhere(Refused)),
        ("Abs", everywhere(Refused)),
        ("Round", everywhere(Refused)),
        ("GlobalAveragePool", everywhere(Refused)),
        ("MaxPool", everywhere(Refused)),
        ("ReduceMean", everywhere(Refused)),
        ("ReduceMax", everywhere(Refused)),
        ("Resize", everywhere(Refused)),
        ("LRN", everywhere(Refused)),
        ("InstanceNormalization", everywhere(Refused)),
        ("LayerNormalization", everywhere(Refused)),
        ("Slice", everywhere(Refused)),
        ("Gather", everywhere(Refused)),
        ("Split", everywhere(Refused)),
        ("Concat", everywhere(Refused)),
        ("Expand", everywhere(Refused)),
        ("If", everywhere(Refused)),
        ("Loop", everywhere(Refused)),
        ("DynamicQuantizeLinear", everywhere(Refused)),
        ("a\u{7}custom", everywhere(Refused)),
    ] {
        let mut plain = File::open("same_plain_op13.onnx");
        // The image, a projection, the logits and the scores.
        let edges =
            ["image".into(), plain.made_by("Conv", 2), plain.made_by("Flatten", 0), plain.made_by("Softmax", 0)];
        let plain = plain.read().unwrap();
        assert_eq!(ignored(&plain)[0], "2 tensors: no operation reads: 'extra.two', 'extra.unread'");
        for (edge, expected) in edges.iter().zip(outcomes) {
            let reads = if matches!(operator, "Mul" | "Add" | "Sub" | "Div" | "Pow" | "PRelu" | "Concat") {
                vec![edge.as_str(), "extra.two"]
            } else {
                vec![edge.as_str()]
            };
            let file = File::open("same_plain_op13.onnx").splice(edge, node(operator, &reads, "extra.out"));
            let what = format!("{operator} after {edge}");
            match (file.read(), expected) {
                (Ok(imported), Same) => {
                    assert_eq!(imported.container, plain.container, "{what}");
                }
                (Ok(imported), Folded) => assert_ne!(imported.container, plain.container, "{what}"),
                (Err(error), Refused) => {
                    let text = error.to_string();
                    let named = operator.split('\u{7}').next_back().unwrap();
                    // The message has its name, or describes it.
                    let is_named = text.contains("extra") || text.contains(named);
                    let is_described = text.contains("different axes") || text.contains("arithmetic on the input");
                    assert!(is_named || is_described, "{what}: {text}");
                }
                (Ok(_), Refused) => panic!("{what} is imported"),
                (Err(error), _) => panic!("{what}: {error}"),
            }
        }
    }
}

#[test]
fn operations_that_no_output_depends_on_are_reported() {
    for operator in ["Relu", "Tanh", "Conv", "If", "custom"] {
        for (place, nth) in [("Conv", 0), ("Conv", 2), ("Flatten", 0), ("Softmax", 0)] {
            let mut file = File::open("same_plain_op13.onnx");
            let edge = file.made_by(place, nth);
            file.insert(&edge, node(operator, &[&edge, "extra.two"], "extra.out"));
            let imported = file.read().unwrap_or_else(|error| panic!("{operator} after {edge}: {error}"));
            let expected = format!("1 operation: not needed by any output: node 'extra' ({operator})");
            assert_eq!(ignored(&imported), [expected.as_str(), UNREAD]);
            // As an output of the model, it is a second reader, or an operation on the scores.
            file.graph().output.push(ValueInfo { name: "extra.out".into(), r#type: None });
            let error = file.refused();
            assert!(error.contains("'extra'") || error.contains(operator), "{operator} after {edge}: {error}");
        }
    }
}

#[test]
fn further_outputs_are_reported() {
    let further = |name: &str, keeps_scores: bool| {
        let mut file = File::open("same_plain_op13.onnx");
        if !keeps_scores {
            file.graph().output.clear();
        }
        file.graph().output.push(ValueInfo { name: name.into(), r#type: None });
        file
    };
    let mut plain = File::open("same_plain_op13.onnx");
    let scores = plain.graph().output.len();
    for (operator, nth) in [("Conv", 0), ("Conv", 2), ("GlobalAveragePool", 0)] {
        let edge = plain.made_by(operator, nth);
        let facts = ignored(&further(&edge, true).read().unwrap());
        assert!(facts.contains(&format!("output '{edge}': the network returns the scores")), "{facts:?}");
        // Without the classifier, the network ends there.
        let error = further(&edge, false).refused();
        assert!(error.contains("the network ends") || error.contains("the end of the network"), "{error}");
    }
    let logits = plain.made_by("Flatten", 0);
    assert!(!ignored(&further(&logits, true).read().unwrap()).iter().any(|fact| fact.contains("output")));
    // The softmax does not contribute to an output, so that the file has no activation.
    let imported = further(&logits, false).read().unwrap();
    assert!(!imported.recovered.head_activation_recorded && scores > 0);
    let facts = ignored(&further("extra.two", true).read().unwrap());
    assert!(facts.contains(&"output 'extra.two': it does not depend on the image".into()), "{facts:?}");
    assert!(further("absent", true).refused().contains("no operation produces the output 'absent'"));
    let mut none = File::open("same_plain_op13.onnx");
    none.graph().output.clear();
    assert!(none.refused().contains("the graph has no outputs"));
}

#[test]
fn further_inputs_and_functions_are_refused() {
    let mut file = File::open("same_plain_op13.onnx");
    file.graph().input.push(ValueInfo { name: "extra".into(), r#type: None });
    assert!(file.refused().contains("'extra'"));
    let mut file = File::open("same_plain_op13.onnx");
    file.0.functions.push(Function { name: "Conv".into(), domain: String::new() });
    assert!(file.refused().contains("a function that the model defines"));
    let mut file = File::open("qop_channels.onnx");
    file.0.opset_import.retain(|set| set.domain.is_empty());
    assert!(file.refused().contains("does not import the domain 'com.microsoft'"));
    for (operator, most) in [("Conv", 3), ("Flatten", 1), ("Softmax", 1), ("GlobalAveragePool", 1)] {
        let mut file = File::open("same_plain_op13.onnx");
        let node = file.graph().node.iter_mut().find(|node| node.op_type == operator).unwrap();
        node.input.resize(most, String::new());
        node.input.push("extra.two".into());
        assert!(file.refused().contains(&format!("at most {most}")), "{operator}");
    }
    for (opset, is_known) in [(6, false), (13, true), (28, true), (29, false)] {
        let mut file = File::open("same_plain_op13.onnx");
        file.0.opset_import[0].version = opset;
        assert_eq!(file.read().is_ok(), is_known, "{opset}");
    }
}

#[test]
fn operations_among_integers_are_refused() {
    let quantized = ["qdq_channels.onnx", "qop_channels.onnx"];
    for name in quantized {
        let plain = File::open(name).read().unwrap();
        for operator in
            ["Tanh", "QLinearMul", "QLinearConcat", "QLinearLeakyRelu", "QLinearSigmoid", "custom", "Identity"]
        {
            let mut file = File::open(name);
            let layer = if name.starts_with("qop") { "QLinearConv" } else { "QuantizeLinear" };
            let edge = file.made_by(layer, 2);
            let parameters = file.graph().node.iter().find(|node| node.output[0] == edge).unwrap().input.clone();
            let [.., scale, zero] = match layer {
                "QLinearConv" => [parameters[6].clone(), parameters[7].clone()],
                _ => [parameters[1].clone(), parameters[2].clone()],
            };
            let mut extra = node(operator, &[&edge, &scale, &zero, &scale, &zero], "extra.out");
            if operator.starts_with("QLinear") {
                extra.domain = "com.microsoft".into();
            } else {
                extra.input.truncate(1);
            }
            let file = file.splice(&edge, extra);
            match file.read() {
                Ok(imported) => {
                    assert!(operator == "Identity" && imported.container == plain.container, "{name}: {operator}");
                }
                Err(error) => assert!(error.to_string().contains("extra"), "{name}: {operator}: {error}"),
            }
        }
    }
}

/// Pixels are bytes, whatever the arithmetic after the cast.
#[test]
fn bytes_are_pixels() {
    let image = |kind: i32, operators: &[(&str, f32)]| {
        let mut file = File::open("same_plain_op13.onnx");
        let mut edge = "image".to_owned();
        for (at, (operator, value)) in operators.iter().enumerate() {
            let constant = format!("number{at}");
            let float_data = vec![*value];
            let tensor = Tensor { name: constant.clone(), data_type: 1, float_data, ..Tensor::default() };
            file.graph().initializer.push(tensor);
            let (reads, makes) = (edge.clone(), format!("changed{at}"));
            file = file.splice(&edge, node(operator, &[&reads, &constant], &makes));
            edge = makes;
        }
        let to = Attribute { name: "to".into(), i: 1, ..Attribute::default() };
        file = file.splice("image", Node { attribute: vec![to], ..node("Cast", &["image"], "floats") });
        let input = &mut file.graph().input[0];
        input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = kind;
        file.read().map(|imported| {
            assert!(imported.recovered.preprocessing_recorded);
            let preprocessing = imported.recovered.preprocessing;
            (preprocessing.scale[0], preprocessing.offset[2], imported.trace.unwrap().pixel_scale)
        })
    };
    assert_eq!(image(2, &[]).unwrap(), (1.0, 0.0, Some(1.0)));
    assert_eq!(image(2, &[("Sub", 128.0)]).unwrap(), (1.0, -128.0, Some(1.0)));
    assert_eq!(image(2, &[("Mul", 0.5), ("Add", -1.0)]).unwrap(), (0.5, -1.0, Some(1.0)));
    assert!(image(3, &[]).unwrap_err().to_string().contains("have no scale"));
    let error = image(6, &[]).unwrap_err().to_string();
    assert!(error.contains("unsupported element type") && error.contains("int32 (6)"), "{error}");
}

/// float16 weights are exact in float32, which is reported; see `fixtures/heads_onnxruntime_files.py`.
#[test]
fn half_weights_are_reported() {
    for (name, is_half) in [("half", true), ("half_io", true), ("gemm", false)] {
        let imported = File::open(&format!("heads/onnxruntime/{name}.onnx")).read().unwrap();
        assert_eq!(imported.notes.iter().any(|note| note.contains("float16")), is_half, "{name}");
    }
}

/// Tools append nodes, which ONNX Runtime sorts.
#[test]
fn nodes_are_read_in_the_order_of_their_edges() {
    let plain = File::open("same_plain_op13.onnx").read().unwrap();
    let mut file = File::open("same_plain_op13.onnx");
    file.graph().node.reverse();
    assert_eq!(file.read().unwrap().container, plain.container);
    let mut file = File::open("same_plain_op13.onnx");
    let last = file.made_by("Conv", 4);
    let stem = file.graph().node.iter_mut().find(|node| node.op_type == "Conv").unwrap();
    stem.input[0] = last;
    assert!(file.refused().contains("depends on its own result"), "{}", file.refused());
}

/// Constants that are computed from floats are not truncated to integers.
#[test]
fn floats_are_not_folded_as_integers() {
    let mut file = File::open("same_plain_op13.onnx");
    let half = Tensor { name: "half".into(), data_type: 1, float_data: vec![0.5], ..Tensor::default() };
    file.graph().initializer.push(half);
    file.graph().node.insert(0, node("Mul", &["half", "extra.two"], "extra.product"));
    let logits = file.made_by("Flatten", 0);
    let file = file.splice(&logits, node("Mul", &[&logits, "extra.product"], "extra.out"));
    assert!(file.refused().contains("computed by the graph"), "{}", file.refused());
}

/// Two softmaxes over halves of the logits, and one over an axis of size 1.
#[test]
fn a_softmax_of_reshaped_logits_is_over_the_classes() {
    let reshaped = |target: &[i64], axis: i64| {
        let mut file = File::open("same_plain_op13.onnx");
        let dims = vec![i64::try_from(target.len()).unwrap()];
        let int64_data = target.to_vec();
        file.graph().initializer.push(Tensor { name: "t".into(), data_type: 7, dims, int64_data, ..Tensor::default() });
        let logits = file.made_by("Flatten", 0);
        let mut file = file.splice(&logits, node("Reshape", &[&logits, "t"], "extra.out"));
        let softmax = file.graph().node.iter_mut().find(|node| node.op_type == "Softmax").unwrap();
        softmax.attribute = vec![Attribute { name: "axis".into(), i: axis, ..Attribute::default() }];
        file.read()
    };
    assert!(reshaped(&[1, 5], -1).is_ok());
    assert!(reshaped(&[0, 1, -1], 2).is_ok());
    assert!(reshaped(&[0, -1, 1, 1], 1).is_ok());
    for (target, axis) in [(&[0, -1, 1, 1][..], -1), (&[0, 1, -1], 1), (&[5, 1], -1), (&[1, 5], 0)] {
        let error = reshaped(target, axis).unwrap_err().to_string();
        assert!(error.contains("the softmax is not over the classes"), "{target:?}: {error}");
    }
}
