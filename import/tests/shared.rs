//! The four published files: ImageNet weights in float and quantized.

mod common;

use std::sync::OnceLock;

use common::shared;
use mbvc_compiler::spec::{Activation, Padding};
use mbvc_import::{Format, Imported, Labels, ReadOptions, read};
use mbvc_runtime::Preprocess;
use mbvc_runtime::quantized::arithmetic::{Integer, Quant};
use mbvc_runtime::quantized::{Pixels, Quantized as _, Table};

const ONNX: &str = "models/mobilenet_v2_1.0_224_f32.onnx";
const FLOAT: &str = "models/mobilenet_v2_1.0_224_f32.tflite";
const INT8: &str = "models/mobilenet_v2_1.0_224_int8_ptq.tflite";
const UINT8: &str = "models/mobilenet_v2_1.0_224_uint8_qat.tflite";

/// Read once for all tests, because an unoptimized read takes a second.
fn import(model: &'static str) -> Option<&'static Imported> {
    static MODELS: [OnceLock<Option<Imported>>; 4] = [const { OnceLock::new() }; 4];
    let at = [ONNX, FLOAT, INT8, UINT8].iter().position(|known| *known == model).unwrap();
    let made = MODELS[at].get_or_init(|| {
        shared(model).map(|path| read(&path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}")))
    });
    made.as_ref()
}

#[test]
fn every_file_is_the_published_network() {
    for model in [ONNX, FLOAT, INT8, UINT8] {
        let Some(imported) = import(model) else { continue };
        assert_eq!(imported.container.parameters(), 3_489_097, "{model}");
        assert_eq!(imported.container.tensors.len(), 2 * 53, "{model}");
        let network = &imported.recovered;
        assert_eq!((network.classes, network.width, network.resolution), (1001, 1.0, [224, 224]), "{model}");
        assert_eq!((network.stem, network.head), ([32, 2], 1280), "{model}");
        assert_eq!(network.padding, Padding::Same, "{model}");
        assert_eq!(network.activation, Activation::Relu6, "{model}");
        let rows: Vec<_> =
            network.rows.iter().map(|row| [row.expansion, row.channels, row.repeat, row.stride]).collect();
        let table =
            [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];
        assert_eq!(rows, table, "{model}");
        for tensor in &imported.container.tensors {
            assert!(tensor.data.to_f64().iter().any(|value| *value != 0.0), "{model}: {} is all zero", tensor.name);
        }
    }
}

#[test]
fn onnx_and_tflite_give_the_same_bits() {
    let (Some(onnx), Some(tflite), Some(int8)) = (import(ONNX), import(FLOAT), import(INT8)) else { return };
    assert_eq!(onnx.format, Format::Onnx);
    for other in [tflite, int8] {
        assert_eq!(other.format, Format::TfLite);
        for (left, right) in onnx.container.tensors.iter().zip(&other.container.tensors) {
            assert_eq!((&left.name, &left.shape), (&right.name, &right.shape));
            let (left_values, right_values) = (left.data.f32s().unwrap(), right.data.f32s().unwrap());
            let differing =
                left_values.iter().zip(right_values).filter(|(left, right)| left.to_bits() != right.to_bits());
            assert_eq!(differing.count(), 0, "{}", left.name);
        }
    }
    let mut differing: Vec<_> = onnx
        .container
        .metadata
        .iter()
        .filter(|(key, value)| tflite.container.metadata.get(*key) != Some(value))
        .map(|(key, _)| key.as_str())
        .collect();
    differing.sort_unstable();
    assert_eq!(differing, ["mbvc.source"]);
}

#[test]
fn the_metadata_says_what_the_network_is() {
    let Some(imported) = import(ONNX) else { return };
    let expected = [
        ("mbvc.activation", "relu6"),
        ("mbvc.classes", "1001"),
        ("mbvc.format", "1"),
        ("mbvc.framing", "squash bilinear"),
        ("mbvc.head_activation", "softmax"),
        ("mbvc.padding", "same"),
        ("mbvc.precision", "f32"),
        ("mbvc.preprocessing", "scale 0.007843138 0.007843138 0.007843138 offset -1 -1 -1"),
        ("mbvc.resolution", "224x224"),
        ("mbvc.source", "ONNX mobilenet_v2_1.0_224_f32.onnx"),
        ("mbvc.width", "1"),
    ];
    let mut metadata = imported.container.metadata.clone();
    assert_eq!(metadata.remove("mbvc.labels").map(|labels| labels.lines().count()), Some(1001));
    let found: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn quantized_inputs_say_their_range() {
    if let Some(int8) = import(INT8) {
        let fact = int8.facts.iter().find(|fact| fact.key == "preprocessing").unwrap();
        assert!(fact.how.contains("quantization"), "{fact:?}");
        assert!(fact.value.starts_with("scale 0.007843138"), "{fact:?}");
    }
    if let Some(uint8) = import(UINT8) {
        let fact = uint8.facts.iter().find(|fact| fact.key == "preprocessing").unwrap();
        assert!(fact.value.ends_with("offset -1 -1 -1"), "{fact:?}");
    }
}

/// A network that stays quantized has the same input bytes as the file, for any range.
fn takes_pixels_as_they_are(kept: &Imported, integer: Integer) {
    let number = |name: &str| kept.container.tensor(name).unwrap().data.to_f64()[0];
    let quant = Quant::new(number("input.scale") as f32, number("input.zero_point") as i32, integer).unwrap();
    let preprocess = Preprocess::parse(&kept.container.metadata["mbvc.preprocessing"]).unwrap();
    let pixels: Vec<u8> = (0..=255).flat_map(|pixel| [pixel; 3]).collect();
    let mut numbers = [0; 256 * 3];
    Pixels { bytes: &pixels, table: &Table::new(&preprocess, quant, integer) }.row::<{ 256 * 3 }>(0, &mut numbers);
    assert_eq!(numbers, *pixels, "{preprocess}");
}

#[test]
fn a_quantized_model_keeps_its_quantization() {
    for (model, precision, pool, tensors) in
        [(INT8, "int8", "mean", 53 * 5 + 12 * 2), (UINT8, "uint8", "average", 53 * 6 + 12 * 2)]
    {
        let Some(path) = shared(model) else { continue };
        let kept = mbvc_import::read(&path, &ReadOptions::keep_quantization()).unwrap();
        assert_eq!(kept.container.metadata["mbvc.precision"], precision);
        assert_eq!(kept.container.metadata["mbvc.pool"], pool);
        takes_pixels_as_they_are(&kept, if precision == "int8" { Integer::Int8 } else { Integer::Uint8 });
        assert_eq!((kept.container.parameters(), kept.container.tensors.len()), (3_489_097, tensors), "{model}");
        assert_eq!(kept.spec().precision.word(), precision);
        assert!(kept.spec_yaml().contains(&format!("precision: {precision}")));
        // The float weights are the dequantized integers.
        let float = import(model).unwrap();
        let values = |name: &str| kept.container.tensor(name).unwrap().data.to_f64();
        for layer in ["stem", "block2.depthwise", "block17.project", "classifier"] {
            let scales = values(&format!("{layer}.weight.scale"));
            let zero = if precision == "uint8" { values(&format!("{layer}.weight.zero_point"))[0] } else { 0.0 };
            let found = values(&format!("{layer}.weight"));
            let expected = float.container.tensor(&format!("{layer}.weight")).unwrap().data.f32s().unwrap();
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_eq!(((found - zero) * scales[at % scales.len()]) as f32, *expected, "{layer} {at}");
            }
        }
    }
}

#[test]
fn labels_must_be_as_many_as_classes() {
    let (Some(imported), Some(path)) = (import(FLOAT), shared("models/imagenet_labels_1001.txt")) else { return };
    let labels = Labels::open(&path).unwrap();
    let mut imported = imported.clone();
    // The published list and our own.
    assert_eq!(imported.container.metadata["mbvc.labels"], labels.names().join("\n"));
    imported.remove_labels();
    assert_eq!(imported.container.metadata.get("mbvc.labels"), None);
    imported.set_labels(&labels).unwrap();
    let names: Vec<_> = imported.container.metadata["mbvc.labels"].split('\n').collect();
    assert_eq!(
        (names.len(), names[0], names[282], names[286]),
        (1001, "background", "tabby, tabby cat", "Egyptian cat")
    );
    let short = Labels::parse(labels.names()[1..].join("\n").as_bytes(), "short.txt").unwrap();
    assert!(imported.set_labels(&short).unwrap_err().to_string().contains("background"));
}

#[test]
fn the_container_comes_back_and_is_the_same_every_time() {
    let Some(imported) = import(ONNX) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a.safetensors", "b.safetensors"].map(|name| folder.path().join(name));
    std::fs::write(&first, imported.container.to_bytes()).unwrap();
    std::fs::write(&second, imported.container.to_bytes()).unwrap();
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    assert_eq!(mbvc_import::Container::open(&first).unwrap(), imported.container);
    let inspection = mbvc_import::inspect(&first).unwrap();
    assert_eq!(inspection.parameters, 3_489_097);
    assert!(inspection.to_string().contains("3 489 097 parameters in 106 tensors"), "{inspection}");
    let error = read(&first, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("cannot be imported again"), "{error}");
}
