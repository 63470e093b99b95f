//! One tiny network as different exporters write it; see `fixtures/make_fixtures.py`.

mod common;

use std::collections::BTreeMap;

use common::fixture;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{Activation, Fusion, Padding, Preprocessing, ResidualRule};
use mbvc_import::{Data, Imported, ReadOptions, Remedy, Tensor, read};
use mbvc_interpreter::{self as interp, Mode};

fn import(name: &str) -> Imported {
    read(&fixture(name), &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn expected_json() -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}

/// Weights computed by numpy, by canonical name.
fn expected(network: &str) -> BTreeMap<String, Tensor> {
    let all = expected_json();
    let tensors = all[network].as_object().unwrap().iter().map(|(name, tensor)| {
        let shape = tensor["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
        let bytes = base64(tensor["f32"].as_str().unwrap());
        let data = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        (name.clone(), Tensor { name: name.clone(), shape, data: Data::F32(data) })
    });
    tensors.collect()
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|known| *known == digit).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn assert_same_bits(imported: &Imported, network: &str, file: &str) {
    let expected = expected(network);
    assert_eq!(imported.container.tensors.len(), expected.len(), "{file}");
    for tensor in &imported.container.tensors {
        let expected_values = &expected[&tensor.name];
        assert_eq!(tensor.shape, expected_values.shape, "{file}: {}", tensor.name);
        for (at, (found, value)) in floats(tensor).iter().zip(floats(expected_values)).enumerate() {
            assert_eq!(found.to_bits(), value.to_bits(), "{file}: {}[{at}]: {found} for {value}", tensor.name);
        }
    }
}

#[test]
fn every_exporter_gives_the_same_weights() {
    for (file, network) in [
        ("same_plain_op13.onnx", "same"),
        ("same_old_op10.onnx", "same"),
        ("same_tensorflow_op13.onnx", "same"),
        ("same_fused.tflite", "same"),
        ("same_explicit.tflite", "same"),
        ("same_int8.tflite", "int8"),
        ("symmetric_torchvision_op17.onnx", "symmetric"),
        ("symmetric_dynamic_op18.onnx", "symmetric"),
    ] {
        assert_same_bits(&import(file), network, file);
    }
}

/// Integer weights of a network whose activations are floats are dequantized, with a note.
#[test]
fn dynamic_range_quantization_is_dequantized_and_noted() {
    let imported = import("same_dynamic.tflite");
    for tensor in &imported.container.tensors {
        let network = if tensor.name.ends_with(".bias") { "same" } else { "int8" };
        assert_eq!(floats(tensor), floats(&expected(network)[&tensor.name]), "{}", tensor.name);
    }
    let is_noted = |imported: &Imported| imported.notes.iter().any(|note| note.contains("dynamic-range quantization"));
    assert!(is_noted(&imported), "{:?}", imported.notes);
    assert!(["same_fused.tflite", "same_f16.tflite", "same_int8.tflite"].iter().all(|file| !is_noted(&import(file))));
}

/// The importer is bit-exact with the recipe of `fold_batch_norm`, executed by the interpreter.
#[test]
fn folding_is_the_compilers_recipe() {
    let imported = import("symmetric_torchvision_op17.onnx");
    let raw: BTreeMap<String, Vec<f32>> =
        expected("raw").into_iter().map(|(name, tensor)| (name, floats(&tensor).to_vec())).collect();
    let mut graph = mbvc_compiler::lower::lower(imported.spec());
    passes::run(&mut graph, Fusion::None, None, &mut |_, _| {}).unwrap();
    let folded = interp::parameters(&graph, &raw).unwrap();
    assert_eq!(folded.len(), imported.container.tensors.len());
    for tensor in &imported.container.tensors {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(floats(tensor)), bits(&folded[&tensor.name]), "{}", tensor.name);
    }
}

/// Weights, table, strides, residuals and padding together: the logits that numpy computes.
#[test]
fn imported_networks_compute_what_numpy_does() {
    let image: Vec<f32> = (0..32 * 32 * 3)
        .map(|at| (at / 96 * 7 + at / 3 % 32 * 3 + at % 3 * 5) % 17)
        .map(|value| value as f32 / 8.0 - 1.0)
        .collect();
    for (file, network) in [
        ("same_tensorflow_op13.onnx", "same"),
        ("same_explicit.tflite", "same"),
        ("symmetric_torchvision_op17.onnx", "symmetric"),
    ] {
        let imported = import(file);
        let mut graph = mbvc_compiler::lower::lower(imported.spec());
        passes::run(&mut graph, Fusion::None, None, &mut |_, _| {}).unwrap();
        let logits = interp::run(&graph, &imported.container, &image, Mode::F64, &mut |_, _, _| {}).unwrap();
        let expected_values: Vec<f64> = serde_json::from_value(expected_json()["logits"][network].clone()).unwrap();
        assert_eq!(logits.len(), expected_values.len());
        for (found, value) in logits.iter().zip(&expected_values) {
            assert!((f64::from(*found) - value).abs() < 1e-5, "{file}: {logits:?} for {value:?}");
        }
    }
}

#[test]
fn half_floats_widen_exactly() {
    let imported = import("same_f16.tflite");
    let expected = expected("same");
    for tensor in &imported.container.tensors {
        for (found, value) in floats(tensor).iter().zip(floats(&expected[&tensor.name])) {
            assert_eq!(found.to_bits() & 0x1fff, 0, "{found} is not a half float");
            assert!((found - value).abs() <= value.abs() * 2f32.powi(-11), "{found} for {value}");
        }
    }
}

#[test]
fn every_exporter_gives_the_same_network() {
    for (file, padding, epsilon) in [
        ("same_plain_op13.onnx", Padding::Same, 1e-3),
        ("same_old_op10.onnx", Padding::Same, 1e-3),
        ("same_tensorflow_op13.onnx", Padding::Same, 1e-3),
        ("same_fused.tflite", Padding::Same, 1e-3),
        ("same_explicit.tflite", Padding::Same, 1e-3),
        ("same_f16.tflite", Padding::Same, 1e-3),
        ("same_int8.tflite", Padding::Same, 1e-3),
        ("symmetric_torchvision_op17.onnx", Padding::Symmetric, 1e-5),
        ("symmetric_dynamic_op18.onnx", Padding::Symmetric, 1e-5),
    ] {
        let imported = import(file);
        let network = &imported.recovered;
        assert_eq!(network.padding, padding, "{file}");
        assert_eq!(network.batch_norm_epsilon, epsilon, "{file}");
        assert_eq!(network.activation, Activation::Relu6, "{file}");
        let resolution = if file.contains("dynamic") { [224, 224] } else { [32, 32] };
        assert_eq!((network.classes, network.resolution, network.width), (5, resolution, 1.0), "{file}");
        assert_eq!((network.stem, network.head), ([8, 2], 16), "{file}");
        let rows: Vec<_> = network
            .rows
            .iter()
            .map(|row| (row.expansion, row.channels, row.repeat, row.stride, row.residual))
            .collect();
        let auto = ResidualRule::Auto;
        assert_eq!(rows, [(1, 8, 1, 1, auto), (2, 8, 2, 2, auto), (3, 16, 1, 2, auto)], "{file}");
        let preprocessing = match padding {
            Padding::Same => Preprocessing::from_range(-1.0, 1.0),
            Padding::Symmetric => Preprocessing::from_mean_and_std([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        };
        assert_eq!(network.preprocessing, preprocessing, "{file}");
    }
}

#[test]
fn a_dynamic_size_is_noted() {
    let imported = import("symmetric_dynamic_op18.onnx");
    assert!(imported.notes.iter().any(|note| note.contains("input size is dynamic")), "{:?}", imported.notes);
}

#[test]
fn the_rendered_spec_is_the_network() {
    let imported = import("symmetric_torchvision_op17.onnx");
    let yaml = imported.spec_yaml();
    let source = mbvc_compiler::diagnostic::SourceFile::new("spec.yaml", yaml.as_str());
    let spec = mbvc_compiler::spec::parse(&source).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    imported.check_against(&spec).unwrap();
    assert_eq!(spec.preprocessing, imported.recovered.preprocessing);
    assert_eq!(spec.batch_norm_epsilon, 1e-5);
    assert!(yaml.contains("padding: symmetric"), "{yaml}");
    assert!(yaml.starts_with("# Recovered from ONNX symmetric_torchvision_op17.onnx (pytorch)."), "{yaml}");
}

#[test]
fn differences_from_a_spec_are_listed_by_layer() {
    let imported = import("same_plain_op13.onnx");
    let text = imported
        .spec_yaml()
        .replace("classes: 5", "classes: 7")
        .replace("padding: same", "padding: symmetric")
        .replace("t: 3, c: 16, n: 1, s: 2", "t: 4, c: 16, n: 1, s: 1")
        .replace("t: 2, c: 8, n: 2, s: 2", "t: 2, c: 8, n: 2, s: 2, residual: false");
    let spec = mbvc_compiler::spec::parse(&mbvc_compiler::diagnostic::SourceFile::new("s.yaml", text)).unwrap();
    let found = imported.mismatches(&spec).unwrap();
    let lines: Vec<_> = found.iter().map(|one| format!("{}: {} / {}", one.field, one.expected, one.found)).collect();
    assert_eq!(
        lines,
        [
            "padding: symmetric / same",
            "classes: 7 / 5",
            "block4.expand.weight: F32 [1, 1, 8, 32] / F32 [1, 1, 8, 24]",
            "block4.depthwise.weight: F32 [3, 3, 32] / F32 [3, 3, 24]",
            "block4.project.weight: F32 [1, 1, 32, 16] / F32 [1, 1, 24, 16]",
            "classifier.weight: F32 [16, 7] / F32 [16, 5]",
            "block3.add: no residual / a residual",
            "block4.stride: 1 / 2",
        ]
    );
    let text = imported.check_against(&spec).unwrap_err().to_string();
    assert_eq!(
        text,
        "the weights do not fit the spec:\n  padding: expected symmetric, found same\n  classes: expected 7, found 5\n  \
         block4.expand.weight: expected F32 [1, 1, 8, 32], found F32 [1, 1, 8, 24]\n  and 5 more\n  \
         help: use the spec that the weights were imported with, or import the weights for this spec"
    );
}

/// One line for the precision, not one per tensor. Other differences are listed as usual.
#[test]
fn another_precision_is_reported_with_its_remedy() {
    let spec =
        |yaml: String| mbvc_compiler::spec::parse(&mbvc_compiler::diagnostic::SourceFile::new("s.yaml", yaml)).unwrap();
    let keep = |name: &str| read(&fixture(name), &ReadOptions::keep_quantization()).unwrap();
    let (float, quantized) = (import("same_int8.tflite"), keep("same_int8.tflite"));
    let text = quantized.check_against(&spec(float.spec_yaml())).unwrap_err().to_string();
    assert_eq!(
        text,
        "the weights do not fit the spec:\n  precision: expected f32, found int8\n  help: write `precision: int8` into \
         the spec (in the macro: `precision = \"int8\"`), or import the weights again with `mbvc import --dequantize`"
    );

    let other = spec(quantized.spec_yaml().replace("classes: 5", "classes: 7"));
    let found = float.mismatches(&other).unwrap();
    let fields: Vec<_> = found.iter().map(|one| &*one.field).collect();
    assert_eq!(fields, ["precision", "classes", "classifier.weight"], "{found:?}");
    assert!(Remedy(&found).to_string().contains("write `precision: f32` into the spec"), "{found:?}");

    let unsigned = keep("qdq_unsigned.onnx").mismatches(&spec(keep("qdq_channels.onnx").spec_yaml())).unwrap();
    assert_eq!(unsigned.len(), 1, "{unsigned:?}");
    assert!(Remedy(&unsigned).to_string().contains("write `precision: uint8` into the spec"), "{unsigned:?}");

    // A tensor with an unexpected element type.
    let mut broken = quantized.container.clone();
    let bias = broken.tensors.iter_mut().find(|tensor| tensor.name == "head.bias").unwrap();
    bias.data = Data::F32(vec![0.0; 16]);
    let found = broken.check_against(quantized.spec()).unwrap_err().to_string();
    assert!(found.contains("head.bias: expected I32 [16], found F32 [16]"), "{found}");
}

#[test]
fn surplus_blocks_are_reported() {
    let imported = import("same_plain_op13.onnx");
    let text = imported.spec_yaml().replace("n: 2, s: 2", "n: 1, s: 2");
    let spec = mbvc_compiler::spec::parse(&mbvc_compiler::diagnostic::SourceFile::new("s.yaml", text)).unwrap();
    let found = imported.mismatches(&spec).unwrap();
    let further: Vec<_> = found.iter().filter(|one| one.expected == "nothing").map(|one| &*one.field).collect();
    assert_eq!(further, ["block4.depthwise.weight", "block4.expand.weight", "block4.project.weight"], "{found:?}");
}

#[test]
fn a_spec_sets_preprocessing_that_is_not_recorded() {
    let raw = Preprocessing::from_range(0.0, 255.0);
    let mut plain = import("same_plain_op13.onnx");
    plain.set_preprocessing(raw, "the spec");
    assert_eq!(plain.container.metadata["mbvc.preprocessing"], "scale 1 1 1 offset 0 0 0");
    assert!(plain.spec_yaml().contains("range: [0, 255]"));
    let mut quantized = import("same_int8.tflite");
    quantized.set_preprocessing(raw, "the spec");
    assert!(quantized.container.metadata["mbvc.preprocessing"].ends_with("offset -1 -1 -1"));
    assert!(quantized.notes.iter().any(|note| note.contains("recorded in the file")), "{:?}", quantized.notes);
}

#[test]
fn inspection_reads_models_and_containers() {
    let model = mbvc_import::inspect(&fixture("same_fused.tflite")).unwrap();
    assert_eq!(model.format, "TFLite");
    assert!(model.facts.iter().any(|fact| fact.key == "padding" && fact.value == "same"), "{:?}", model.facts);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.safetensors");
    std::fs::write(&path, import("same_fused.tflite").container.to_bytes()).unwrap();
    let container = mbvc_import::inspect(&path).unwrap();
    assert_eq!(container.tensors, model.tensors);
    assert_eq!(container.metadata, model.metadata);
    let json = serde_json::to_value(&container).unwrap();
    assert_eq!(json["tensors"][0]["name"], "stem.weight");
    assert_eq!(json["metadata"]["mbvc.classes"], "5");
    assert!(container.to_string().contains("stem.weight"), "{container}");
    // Scales are small numbers with significant digits.
    let quantized = mbvc_import::inspect(&fixture("same_int8.tflite")).unwrap().to_string();
    assert!(quantized.contains("0.007843138 to 0.007843138"), "{quantized}");
}

fn floats(tensor: &Tensor) -> &[f32] {
    tensor.data.f32s().expect("float32")
}
