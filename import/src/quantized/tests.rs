//! Modified quantized ONNX files: equivalent ones are imported, others are rejected.

mod floats;

use prost::Message as _;

use crate::error::Result;
use crate::onnx::{Model, Operator as Node, Tensor, decode};
use crate::{ErrorKind, Imported, ReadOptions, read_bytes};

/// A fixture to modify.
struct File(Model);

impl File {
    fn open(name: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let mut model = decode(&std::fs::read(path).unwrap()).unwrap();
        // The quantizer writes some integers as raw and some as typed data. All are converted to raw data.
        for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            let typed = std::mem::take(&mut tensor.int32_data);
            match tensor.data_type {
                _ if typed.is_empty() => {}
                2 | 3 => tensor.raw_data = typed.iter().map(|value| *value as u8).collect(),
                6 => tensor.raw_data = typed.iter().flat_map(|value| value.to_le_bytes()).collect(),
                other => panic!("tensor of type {other}"),
            }
        }
        Self(model)
    }

    fn nodes(&mut self) -> &mut Vec<Node> {
        &mut self.0.graph.as_mut().unwrap().node
    }

    fn tensor(&mut self, name: &str) -> &mut Tensor {
        let tensors = &mut self.0.graph.as_mut().unwrap().initializer;
        tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    fn add_tensor(&mut self, name: &str, data_type: i32, dims: &[i64], raw_data: &[u8]) {
        let raw_data = raw_data.to_vec().into();
        let tensor = Tensor { name: name.into(), data_type, dims: dims.to_vec(), raw_data, ..Tensor::default() };
        self.0.graph.as_mut().unwrap().initializer.push(tensor);
    }

    /// Returns the index of the node that produces a name or, with `reads`, of the first that reads it.
    fn find(&mut self, name: &str, reads: bool) -> usize {
        let named = |node: &Node| if reads { &node.input } else { &node.output }.iter().any(|other| other == name);
        self.nodes().iter().position(named).unwrap()
    }

    /// Returns the indices of all nodes with this operator.
    fn all(&mut self, operator: &str) -> Vec<usize> {
        let nodes = self.nodes().iter().enumerate();
        nodes.filter(|(_, node)| node.op_type == operator).map(|(at, _)| at).collect()
    }

    /// Returns the pair that quantizes the output of node `at`.
    fn pair_after(&mut self, at: usize) -> [usize; 2] {
        let made = self.nodes()[at].output[0].clone();
        let first = self.find(&made, true);
        assert_eq!(self.nodes()[first].op_type, "QuantizeLinear");
        let integers = self.nodes()[first].output[0].clone();
        [first, self.find(&integers, true)]
    }

    /// Redirects the readers of node `at` to `of`.
    fn bypass(&mut self, at: usize, of: &str) {
        let made = self.nodes()[at].output[0].clone();
        let graph = self.0.graph.as_mut().unwrap();
        let reads = graph.node.iter_mut().flat_map(|node| &mut node.input);
        for name in reads.chain(graph.output.iter_mut().map(|output| &mut output.name)).filter(|name| **name == made) {
            of.clone_into(name);
        }
    }

    fn keep(&self) -> Result<Imported> {
        read_bytes(&self.0.encode_to_vec(), "m.onnx", &ReadOptions::keep_quantization())
    }

    /// Returns the error, and checks that its remedy works.
    fn rejection(&self) -> String {
        let error = self.keep().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        let text = error.to_string();
        assert!(text.contains("--dequantize"), "{text}");
        read_bytes(&self.0.encode_to_vec(), "m.onnx", &ReadOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
        text
    }
}

fn numbers(imported: &Imported, name: &str) -> Vec<f64> {
    imported.container.tensor(name).unwrap().data.to_f64()
}

const HALF: [u8; 4] = 0.5f32.to_le_bytes();

#[test]
fn rejects_a_value_that_is_not_quantized() {
    for (operator, nth, role) in [("Conv", 1, "block1.depthwise"), ("Add", 0, "block1.add"), ("Gemm", 0, "classifier")]
    {
        let mut file = File::open("qdq_channels.onnx");
        let at = file.all(operator)[nth];
        let [_, second] = file.pair_after(at);
        let made = file.nodes()[at].output[0].clone();
        file.bypass(second, &made);
        let [first, second] = file.pair_after(at);
        file.nodes().retain({
            let mut at = 0;
            move |_| {
                at += 1;
                at - 1 != first && at - 1 != second
            }
        });
        let error = file.keep().unwrap_err();
        // The quantization includes the activation, so without it the depthwise layer has none.
        let expected =
            if nth == 1 { "not an activation of MobileNetV2" } else { "the value is not quantized, but others are" };
        assert_eq!(error.role.as_deref(), Some(role), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn rejects_mismatched_pairs() {
    let mut file = File::open("qdq_channels.onnx");
    file.add_tensor("half", 1, &[], &HALF);
    let at = file.all("Conv")[0];
    let [_, second] = file.pair_after(at);
    file.nodes()[second].input[1] = "half".into();
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("scale or zero point differs from that of the quantized value"), "{error}");

    let mut file = File::open("qdq_channels.onnx");
    file.add_tensor("zero", 3, &[], &[0]);
    let [_, second] = file.pair_after(at);
    file.nodes()[second].input[2] = "zero".into();
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("the type of the zero point differs"), "{error}");

    // DequantizeLinear of floats.
    let mut file = File::open("qdq_channels.onnx");
    let made = file.nodes()[at].output[0].clone();
    let [first, _] = file.pair_after(at);
    file.bypass(first, &made);
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("input 0 is not a quantized value"), "{error}");

    // A float operator on integers.
    let mut file = File::open("qdq_channels.onnx");
    let [first, second] = file.pair_after(at);
    let integers = file.nodes()[first].output[0].clone();
    file.bypass(second, &integers);
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("input 0 is quantized"), "{error}");
}

#[test]
fn rejects_two_quantizations_of_a_value() {
    let mut file = File::open("qdq_channels.onnx");
    file.add_tensor("half", 1, &[], &HALF);
    let gemm = file.all("Gemm")[0];
    let input = file.nodes()[gemm].input[0].clone();
    let pair = file.find(&input, false);
    let zero = file.nodes()[pair].input[2].clone();
    let node = |operator: &str, of: &str, makes: &str| Node {
        op_type: operator.into(),
        input: vec![of.into(), "half".into(), zero.clone()],
        output: vec![makes.into()],
        ..Node::default()
    };
    let again = [node("QuantizeLinear", &input, "again"), node("DequantizeLinear", "again", "twice")];
    file.nodes()[gemm].input[0] = "twice".into();
    file.nodes().splice(gemm..gemm, again);
    let error = file.rejection();
    assert!(error.contains("head.pool: the value has several quantizations"), "{error}");
}

#[test]
fn rejects_sixteen_bits() {
    let mut file = File::open("qdq_channels.onnx");
    let zeros: Vec<String> = file.nodes().iter().filter_map(|node| node.input.get(2).cloned()).collect();
    for tensor in &mut file.0.graph.as_mut().unwrap().initializer {
        if zeros.contains(&tensor.name) && tensor.data_type == 2 {
            tensor.data_type = 4;
            tensor.raw_data = [&tensor.raw_data[..], &[0]].concat().into();
        }
    }
    // The ranges of such values are wider, so their activation is relu.
    let error = file.rejection();
    assert!(
        error.contains("input: the value has element type U16") && error.contains("expected: int8 or uint8"),
        "{error}"
    );
    let mut symmetric = File::open("qdq_symmetric.onnx");
    for tensor in &mut symmetric.0.graph.as_mut().unwrap().initializer {
        if tensor.dims.is_empty() && tensor.data_type == 3 {
            tensor.data_type = 5;
            tensor.raw_data = [&tensor.raw_data[..], &[0]].concat().into();
        }
    }
    let error = symmetric.rejection();
    assert!(
        error.contains("input: the value has element type I16") && error.contains("expected: int8 or uint8"),
        "{error}"
    );
}

#[test]
fn rejects_zero_points_of_channels() {
    let mut file = File::open("qdq_channels.onnx");
    let conv = file.all("Conv")[2];
    let weight = file.nodes()[conv].input[1].clone();
    let pair = file.find(&weight, false);
    let zero = file.nodes()[pair].input[2].clone();
    let zeros = file.tensor(&zero);
    let mut bytes = zeros.raw_data.to_vec();
    bytes[3] = 9;
    zeros.raw_data = bytes.into();
    let error = file.rejection();
    assert!(error.contains("block1.project") && error.contains("neither symmetric"), "{error}");
    let seen = crate::inspect_bytes(&file.0.encode_to_vec(), "m.onnx").unwrap();
    assert!(seen.notes.iter().any(|note| note.contains("cannot be kept") && note.contains("neither symmetric")));
    assert_eq!(seen.metadata["mbvc.precision"], "f32");
    assert!(error.contains("found: zero points and scales per channel"), "{error}");
}

#[test]
fn a_bias_in_other_units_is_converted() {
    let plain = File::open("qdq_channels.onnx").keep().unwrap();
    let mut file = File::open("qdq_channels.onnx");
    let gemm = file.all("Gemm")[0];
    let bias = file.nodes()[gemm].input[2].clone();
    let pair = file.find(&bias, false);
    let scale = file.nodes()[pair].input[1].clone();
    let scales = file.tensor(&scale);
    let twice = scales.raw_data.chunks_exact(4).map(|bytes| 2.0 * f32::from_le_bytes(bytes.try_into().unwrap()));
    scales.raw_data = twice.flat_map(f32::to_le_bytes).collect();
    let found = numbers(&file.keep().unwrap(), "classifier.bias");
    let expected: Vec<f64> = numbers(&plain, "classifier.bias").iter().map(|steps| steps * 2.0).collect();
    assert_eq!(found, expected);
    assert!(expected.iter().any(|steps| steps.abs() > 1000.0));
    // A bias beyond 32 bits.
    file.tensor(&scale).raw_data = [1e9f32; 5].iter().flat_map(|scale| scale.to_le_bytes()).collect();
    let error = file.rejection();
    assert!(error.contains("classifier") && error.contains("does not fit 32 bits"), "{error}");
}

#[test]
fn rejects_a_clip_between_different_quantizations() {
    let mut file = File::open("qdq_symmetric.onnx");
    file.add_tensor("half", 1, &[], &HALF);
    let clip = file.all("Clip")[3];
    let input = file.nodes()[clip].input[0].clone();
    let dequantize = file.find(&input, false);
    let integers = file.nodes()[dequantize].input[0].clone();
    let quantize = file.find(&integers, false);
    for at in [quantize, dequantize] {
        file.nodes()[at].input[1] = "half".into();
    }
    let error = file.rejection();
    assert!(error.contains("the quantization before the activation differs from that after it"), "{error}");
}

#[test]
fn implied_activations_follow_the_range() {
    // Only the stem exceeds 6, so all activations are relu.
    let mut file = File::open("qdq_channels.onnx");
    let stem = file.all("Conv")[0];
    let [first, _] = file.pair_after(stem);
    let scale = file.nodes()[first].input[1].clone();
    file.tensor(&scale).raw_data = 0.05f32.to_le_bytes().to_vec().into();
    assert_eq!(file.keep().unwrap().container.metadata["mbvc.activation"], "relu");
    // Values below 0 imply no activation.
    let zero = file.nodes()[first].input[2].clone();
    file.tensor(&zero).raw_data = vec![3].into();
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("stem") && error.contains("expected: relu6 or relu"), "{error}");
    // A range above 6 conflicts with other layers that clamp to 6.
    let mut file = File::open("qdq_symmetric.onnx");
    let clip = file.all("Clip")[0];
    let input = file.nodes()[clip].input[0].clone();
    let [first, second] = file.pair_after(clip);
    file.add_tensor("half", 1, &[], &HALF);
    file.add_tensor("low", 3, &[], &[0x80]);
    for at in [first, second] {
        file.nodes()[at].input[1..].clone_from_slice(&["half".into(), "low".into()]);
    }
    file.nodes()[first].input[0].clone_from(&input);
    let dequantize = file.find(&input, false);
    let integers = file.nodes()[dequantize].input[0].clone();
    let quantize = file.find(&integers, false);
    let convolved = file.nodes()[quantize].input[0].clone();
    file.nodes()[first].input[0] = convolved;
    for at in [clip, dequantize, quantize] {
        file.nodes().remove(at);
    }
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("stem: the quantized range of a layer without activation exceeds 6"), "{error}");
    assert!(error.contains("expected: relu6, as in block1.depthwise"), "{error}");
}

/// As written by converters from quantized TFLite.
#[test]
fn a_uint8_input_dequantized_by_the_graph_is_supported() {
    let plain = File::open("qdq_channels.onnx").keep().unwrap();
    let mut file = File::open("qdq_channels.onnx");
    let quantize = file.find("image", true);
    file.bypass(quantize, "image");
    file.nodes().remove(quantize);
    let input = &mut file.0.graph.as_mut().unwrap().input[0];
    input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = 2;
    let found = file.keep().unwrap();
    assert_eq!(found.container.tensors, plain.container.tensors);
    let fact = found.facts.iter().find(|fact| fact.key == "preprocessing").unwrap();
    assert!(fact.how.contains("quantization of the input"), "{fact:?}");
}

#[test]
fn a_classifier_of_matmul_and_add_has_a_bias() {
    let plain = File::open("qdq_channels.onnx").keep().unwrap();
    let mut file = File::open("qdq_channels.onnx");
    let gemm = file.all("Gemm")[0];
    let Node { input, output, .. } = file.nodes()[gemm].clone();
    let node = |operator: &str, reads: &[&str], makes: &str| Node {
        op_type: operator.into(),
        input: reads.iter().map(|name| (*name).into()).collect(),
        output: vec![makes.into()],
        ..Node::default()
    };
    let three = [
        node("Transpose", &[&input[1]], "turned"),
        node("MatMul", &[&input[0], "turned"], "product"),
        node("Add", &["product", &input[2]], &output[0]),
    ];
    file.nodes().splice(gemm..=gemm, three);
    assert_eq!(file.keep().unwrap().container.tensors, plain.container.tensors);
    // Rounding between the two changes the network.
    let add = gemm + 2;
    let pooled = file.find(&input[0], false);
    let [scale, zero] = [1, 2].map(|at| file.nodes()[pooled].input[at].clone());
    let pair = [
        node("QuantizeLinear", &["product", &scale, &zero], "product.q"),
        node("DequantizeLinear", &["product.q", &scale, &zero], "product.dq"),
    ];
    file.nodes()[add].input[0] = "product.dq".into();
    file.nodes().splice(add..add, pair);
    let error = file.rejection();
    assert!(error.contains("between a layer and the following arithmetic"), "{error}");
}

#[test]
fn rejects_other_operators_on_integers_with_a_remedy() {
    let mut file = File::open("qdq_channels.onnx");
    let stem = file.all("Conv")[0];
    let [first, second] = file.pair_after(stem);
    let integers = file.nodes()[first].output[0].clone();
    file.nodes()[stem].op_type = "QLinearConcat".into();
    file.nodes()[stem].output[0].clone_from(&integers);
    assert_eq!(file.nodes()[second].input[0], integers);
    file.nodes().remove(first);
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("found: QLinearConcat") && error.contains("QuantFormat.QDQ"), "{error}");
}

/// Small types are stored in the field of 32-bit integers.
#[test]
fn typed_data_equals_raw_data() {
    let plain = File::open("qdq_channels.onnx").keep().unwrap();
    let mut file = File::open("qdq_channels.onnx");
    for tensor in &mut file.0.graph.as_mut().unwrap().initializer {
        let raw = std::mem::take(&mut tensor.raw_data);
        match tensor.data_type {
            2 => tensor.int32_data = raw.iter().map(|byte| i32::from(*byte)).collect(),
            3 => tensor.int32_data = raw.iter().map(|byte| i32::from(byte.cast_signed())).collect(),
            6 => {
                tensor.int32_data =
                    raw.chunks_exact(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect();
            }
            _ => tensor.raw_data = raw,
        }
    }
    assert_eq!(file.keep().unwrap().container.tensors, plain.container.tensors);
}

/// The parameters of operators on integers are compared with those of their producers.
#[test]
fn operators_on_integers_agree_with_their_producers() {
    let conv = |change: &dyn Fn(&mut File, usize)| {
        let mut file = File::open("qop_channels.onnx");
        let at = file.all("QLinearConv")[1];
        change(&mut file, at);
        file.keep().unwrap_err().to_string()
    };
    let error = conv(&|file, at| {
        file.add_tensor("half", 1, &[], &HALF);
        file.nodes()[at].input[1] = "half".into();
    });
    assert!(error.contains("scale or zero point differs"), "{error}");
    // A weight of int8 with a zero point of uint8.
    let error = conv(&|file, at| file.nodes()[at].input[5] = file.nodes()[at].input[2].clone());
    assert!(error.contains("the type of the zero point differs from that of the weights"), "{error}");
    let error = conv(&|file, at| file.nodes()[at].input[3] = file.nodes()[at].input[0].clone());
    assert!(error.contains("computed by the graph"), "{error}");
    let error = conv(&|file, at| file.nodes()[at].input[7].clear());
    assert!(error.contains("has no zero point"), "{error}");

    // A sum with a constant, as MatMul and Add become.
    let mut file = File::open("qop_channels.onnx");
    let add = file.all("QLinearAdd")[0];
    file.add_tensor("one", 2, &[1], &[1]);
    file.nodes()[add].input[3] = "one".into();
    let error = file.keep().unwrap_err().to_string();
    assert!(error.contains("input 3 is not a quantized value") && error.contains("QuantFormat.QDQ"), "{error}");
}
