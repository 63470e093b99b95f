//! Quantized models of which a part computes in floats.

use prost::Message as _;

use super::File;
use crate::onnx::{Attribute, Operator as Node, ValueInfo};
use crate::{ReadOptions, read_bytes};

/// As written with `extra_options={"QuantizeBias": False}`.
#[test]
fn float_biases_are_rounded() {
    let plain = File::open("qdq_channels.onnx").keep().unwrap();
    for (operator, nth, role) in [("Conv", 0, "stem"), ("Conv", 1, "block1.depthwise"), ("Gemm", 0, "classifier")] {
        let with_floats = |shift: f64| {
            let mut file = File::open("qdq_channels.onnx");
            let layer = file.all(operator)[nth];
            let bias = file.nodes()[layer].input[2].clone();
            let pair = file.find(&bias, false);
            let [steps, scales] = [0, 1].map(|at| file.nodes()[pair].input[at].clone());
            let steps = file.tensor(&steps).raw_data.clone();
            let scales = file.tensor(&scales).raw_data.clone();
            let pairs = steps.chunks_exact(4).zip(scales.chunks_exact(4));
            let floats = pairs.map(|(step, scale)| {
                let step = f64::from(i32::from_le_bytes(step.try_into().unwrap()));
                ((step + shift) * f64::from(f32::from_le_bytes(scale.try_into().unwrap()))) as f32
            });
            let (count, bytes) = (scales.len() / 4, floats.flat_map(f32::to_le_bytes).collect::<Vec<_>>());
            file.add_tensor("floats", 1, &[i64::try_from(count).unwrap()], &bytes);
            let layer = &mut file.nodes()[layer];
            layer.name = "layer".into();
            layer.input[2] = "floats".into();
            file
        };
        for (shift, has_note) in [(0.0, false), (0.25, true), (-0.25, true)] {
            let rounded = with_floats(shift).keep().unwrap();
            assert!(rounded.container.tensors == plain.container.tensors, "{role} {shift}");
            let note = rounded.notes.iter().any(|note| note.starts_with("biases are rounded"));
            assert_eq!(note, has_note, "{role} {shift}");
        }
    }
}

/// The input of a block with a residual: one of its two readers reads the value before its quantization.
#[test]
fn rejects_readers_of_a_value_before_its_quantization() {
    let fork = |fixture: &str, operator: &str, through: Option<&str>| {
        let mut file = File::open(fixture);
        let add = file.all("Add")[0];
        let skip = (0..2).find(|at| {
            let name = file.nodes()[add].input[*at].clone();
            file.nodes().iter().filter(|node| node.input.contains(&name)).count() == 2
        });
        let after = file.nodes()[add].input[skip.unwrap()].clone();
        let dequantize = file.find(&after, false);
        let integers = file.nodes()[dequantize].input[0].clone();
        let quantize = file.find(&integers, false);
        let before = file.nodes()[quantize].input[0].clone();
        let reader = file.nodes().iter().position(|node| node.op_type == operator && node.input.contains(&after));
        let read = through.map_or(before.clone(), |_| "alias".into());
        let reader = &mut file.nodes()[reader.unwrap()];
        reader.name = "reader".into();
        reader.input.iter_mut().filter(|name| **name == after).for_each(|name| name.clone_from(&read));
        let alias = |operator: &str| Node {
            op_type: operator.into(),
            input: vec![before],
            output: vec!["alias".into()],
            ..Node::default()
        };
        file.nodes().splice(quantize..quantize, through.map(alias));
        file
    };
    for (operator, through) in [("Add", None), ("Conv", None), ("Add", Some("Identity")), ("Conv", Some("Dropout"))] {
        let error = fork("qdq_symmetric.onnx", operator, through).rejection();
        assert!(error.contains("the value is read both before and after its quantization"), "{error}");
        assert!(error.contains(&format!("found: node 'reader' ({operator})")), "{error}");
        // Without a Clip, the quantization is the activation.
        let error = fork("qdq_channels.onnx", operator, through).keep().unwrap_err().to_string();
        assert!(
            error.contains(&format!("no activation, and node 'reader' ({operator}) reads the value before")),
            "{error}"
        );
    }
}

/// The model returns the logits in floats, and the scores of the quantized logits.
#[test]
fn rejects_logits_that_are_returned_before_their_quantization() {
    let mut file = File::open("qdq_channels.onnx");
    let gemm = file.all("Gemm")[0];
    let logits = file.nodes()[gemm].output[0].clone();
    let output = ValueInfo { name: logits.clone(), r#type: None };
    file.0.graph.as_mut().unwrap().output.push(output);
    let error = file.rejection();
    assert!(error.contains("before their quantization") && error.contains(&logits), "{error}");
}

/// Weights that the graph rounds to float16 have no integers.
#[test]
fn rejects_values_without_quantized_weights() {
    let mut file = File::open("qdq_channels.onnx");
    let layers = [file.all("Conv"), file.all("Gemm")].concat();
    let weights: Vec<String> = layers.iter().map(|at| file.nodes()[*at].input[1].clone()).collect();
    for weight in weights {
        let made = format!("{weight}.half");
        let reader = file.find(&weight, true);
        file.nodes()[reader].input[1].clone_from(&made);
        let attribute = vec![Attribute { name: "to".into(), i: 10, ..Attribute::default() }];
        let cast =
            Node { op_type: "Cast".into(), input: vec![weight], output: vec![made], attribute, ..Node::default() };
        file.nodes().push(cast);
    }
    assert!(file.rejection().contains("the weights are not quantized, but values are"), "{}", file.rejection());
    let imported = read_bytes(&file.0.encode_to_vec(), "m.onnx", &ReadOptions::default()).unwrap();
    assert!(imported.notes.contains(&"the quantization of values is dropped".into()), "{:?}", imported.notes);
}
