//! Tensors of a file that contain the values of the network, by their names in the fixtures.

mod common;

use common::fixture;
use mbvc_import::{Layout, ReadOptions, Trace, read};

/// The layers of the fixtures' network, in order of execution, and whether each is activated.
const LAYERS: [(&str, bool); 12] = [
    ("stem", true),
    ("block1.depthwise", true),
    ("block1.project", false),
    ("block2.expand", true),
    ("block2.depthwise", true),
    ("block2.project", false),
    ("block3.expand", true),
    ("block3.depthwise", true),
    ("block3.project", false),
    ("block4.expand", true),
    ("block4.depthwise", true),
    ("block4.project", false),
];

fn trace(name: &str) -> Trace {
    read(&fixture(name), &ReadOptions::default())
        .unwrap_or_else(|error| panic!("{error}"))
        .trace
        .expect("an engine runs it")
}

/// Nodes and tensors in order, from the stem to the last projection: `sums` and `activated` name a layer's tensors,
/// `add` that of a sum of two.
fn expected(
    sums: impl Fn(&str, bool) -> Option<String>,
    activated: impl Fn(&str) -> String,
    add: impl Fn(&str) -> String,
) -> Vec<(String, String)> {
    let mut values = Vec::new();
    for (layer, is_activated) in LAYERS {
        values.extend(sums(layer, is_activated).map(|tensor| (layer.to_owned(), tensor)));
        if is_activated {
            values.push((format!("{layer}.relu6"), activated(layer)));
        }
        if matches!(layer, "block1.project" | "block3.project") {
            values.push((layer.replace("project", "add"), add(layer)));
        }
    }
    values
}

fn named(trace: &Trace) -> Vec<(String, String)> {
    trace.values.iter().map(|value| (value.node.clone(), value.tensor.name.clone())).collect()
}

/// Compares all values. Those of head, pool and classifier are listed explicitly.
fn check(trace: &Trace, mut expected: Vec<(String, String)>, rest: &[(&str, &str)]) {
    expected.extend(rest.iter().map(|(node, tensor)| ((*node).to_owned(), (*tensor).to_owned())));
    assert_eq!(named(trace), expected);
}

fn layouts(trace: &Trace, layout: Layout) {
    let spatial = trace.values.iter().filter(|value| !matches!(&*value.node, "head.pool" | "classifier"));
    assert!(spatial.clone().count() > 10);
    assert!(spatial.into_iter().all(|value| value.tensor.layout == layout), "{trace:?}");
}

#[test]
fn onnx_layers_are_traced_after_normalization_and_after_activation() {
    let dotted = |ending: &'static str| move |layer: &str| format!("{layer}.{ending}");
    for (name, sums, rest) in [
        ("same_plain_op13.onnx", "conv", [("head", "head.conv"), ("head.pool", "pooled"), ("classifier", "logits")]),
        ("same_old_op10.onnx", "conv", [("head", "head.conv"), ("head.pool", "features"), ("classifier", "logits")]),
        ("same_tensorflow_op13.onnx", "bn", [("head", "head.bn"), ("head.pool", "pooled"), ("classifier", "logits")]),
        (
            "symmetric_torchvision_op17.onnx",
            "bn",
            [("head", "head.bn"), ("head.pool", "features"), ("classifier", "logits")],
        ),
        (
            "symmetric_dynamic_op18.onnx",
            "conv",
            [("head", "head.conv"), ("head.pool", "features"), ("classifier", "logits")],
        ),
    ] {
        let found = trace(name);
        let layers = expected(|layer, _| Some(dotted(sums)(layer)), dotted("relu6"), dotted("add"));
        let [head, pool, classifier] = rest;
        check(&found, layers, &[head, ("head.relu6", "head.relu6"), pool, classifier]);
        layouts(&found, Layout::Nchw);
        let input = if name.contains("tensorflow") { Layout::Nhwc } else { Layout::Nchw };
        assert_eq!((&*found.input.name, found.input.index, found.input.layout), ("image", None, input), "{name}");
        let resolution = if name.contains("dynamic") { None } else { Some([32, 32]) };
        assert_eq!((found.resolution, found.pixel_scale, found.reversed), (resolution, None, false));
    }
}

#[test]
fn tflite_layers_are_traced_with_their_indices() {
    let own = |layer: &str| layer.to_owned();
    let add = |layer: &str| format!("{layer}/add");
    let rest = [("head.relu6", "head"), ("head.pool", "pooled"), ("classifier", "logits")];
    for name in ["same_fused.tflite", "same_f16.tflite"] {
        let found = trace(name);
        // An activation that is fused leaves no tensor before it.
        check(&found, expected(|layer, activated| (!activated).then(|| own(layer)), own, add), &rest);
        layouts(&found, Layout::Nhwc);
        assert!(found.values.iter().all(|value| value.tensor.index.is_some()));
        assert_eq!((found.input.index, found.input.layout), (Some(0), Layout::Nhwc));
    }
    let found = trace("same_explicit.tflite");
    let activated = |layer: &str| format!("{layer}/relu6");
    let rest = [("head", "head"), ("head.relu6", "head/relu6"), ("head.pool", "pooled"), ("classifier", "logits")];
    check(&found, expected(|layer, _| Some(own(layer)), activated, add), &rest);
    assert_eq!((&*found.input.name, found.input.layout), ("image", Layout::Nchw));
}

/// For a quantized model the integers are traced, not the values that they were rounded from.
#[test]
fn quantized_layers_are_traced_in_integers() {
    let keep = |name: &str| read(&fixture(name), &ReadOptions::keep_quantization()).unwrap().trace.unwrap();
    let own = |layer: &str| layer.to_owned();
    let found = keep("same_int8.tflite");
    let layers = expected(|layer, activated| (!activated).then(|| own(layer)), own, |layer| format!("{layer}/add"));
    check(&found, layers, &[("head.relu6", "head"), ("head.pool", "pooled"), ("classifier", "logits")]);
    assert_eq!(found.input.name, "image");

    // The first values of the file: QuantizeLinear produces 99 from the stem, a2 from the first sum.
    let found = keep("qdq_channels.onnx");
    let [stem, _, _, sum] = &named(&found)[..4] else { panic!("{found:?}") };
    assert_eq!((&*stem.0, &*stem.1, &*sum.0, &*sum.1), ("stem.relu6", "99", "block1.add", "a2"));
    assert_eq!(found.input.name, "image");
    // The quantized output of a separate activation.
    let found = keep("qdq_symmetric.onnx");
    assert_eq!((&*found.values[0].node, &*found.values[0].tensor.name), ("stem.relu6", "b2"));
    assert_eq!(found.values.len(), LAYERS.len() + 2 + 3);
    let dequantized = trace("qdq_symmetric.onnx");
    assert_eq!(dequantized.values[0].tensor.name, "ae", "of floats what the convolution makes");
}

#[test]
fn formats_that_no_engine_runs_have_no_trace() {
    for name in ["keras2_sequential.keras", "torch/whole_module.pt"] {
        assert!(read(&fixture(name), &ReadOptions::default()).unwrap().trace.is_none(), "{name}");
    }
}
