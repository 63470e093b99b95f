//! Quantized models, imported and interpreted, against LiteRT, run beside them: every tensor, bit for bit.

#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{fixture, has, photographs, python, shared};
use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{Precision, Rounding};
use mbvc_import::{Container, Imported, ReadOptions};
use mbvc_interpreter::run_quantized;
use mbvc_runtime::quantized::arithmetic::{Integer, Softmax};

const INT8: &str = "models/mobilenet_v2_1.0_224_int8_ptq.tflite";
const UINT8: &str = "models/mobilenet_v2_1.0_224_uint8_qat.tflite";

/// 53 convolutions, 10 adds, the pool and the softmax.
const TENSORS: usize = 65;
/// What TensorFlow's converter makes of a network of odd sizes: 26 convolutions, 3 adds, the pool and the softmax.
const CONVERTED: &str = "converted_int8.tflite";
const CONVERTED_TENSORS: usize = 31;
/// A dense layer before the classifier: 10 convolutions, 2 adds, the pool, two dense products and the softmax.
const DENSE: &str = "heads/tflite/dense_int8.tflite";
const DENSE_TENSORS: usize = 16;
/// A gray image: 6 convolutions and dense products, the pool and the softmax.
const GRAY: &str = "heads/gray/plain_int8.tflite";
const GRAY_TENSORS: usize = 8;

/// Python packages that the script requires.
const LITERT: &str = "numpy, PIL, ai_edge_litert";

/// The values of the layers after their activations, of the adds and the pool, and the softmax, with their names.
fn tensors(model: &Imported, container: &Container, rounding: Rounding, pixels: &[u8]) -> Vec<(String, Vec<i32>)> {
    let integer = if model.spec().precision == Precision::Int8 { Integer::Int8 } else { Integer::Uint8 };
    let image: Vec<i32> = pixels.iter().map(|pixel| i32::from(*pixel) + integer.limits().low).collect();
    let graph = lower(model.spec());
    let mut found: Vec<(String, Vec<i32>)> = Vec::new();
    let logits = run_quantized(&graph, container, rounding, &image, &mut |origin, _, values| {
        if let Some(layer) = origin.name.strip_suffix(".relu6").or(origin.name.strip_suffix(".relu")) {
            let last = found.last_mut().unwrap();
            assert_eq!(last.0, layer);
            last.1 = values.to_vec();
        } else if origin.name != "input" {
            found.push((origin.name.clone(), values.to_vec()));
        }
    });
    let logits = logits.unwrap_or_else(|error| panic!("{error}"));
    let scale = container.tensor("classifier.scale").unwrap().data.f32s().unwrap()[0];
    let mut probabilities = vec![0; logits.len()];
    Softmax::new(integer, scale).apply(logits.iter().copied(), |at, value| probabilities[at] = value);
    found.push(("softmax".to_owned(), probabilities));
    found
}

/// Compares all tensors of all images: the photographs, noise, black and white.
fn compare(path: &Path, tensors_in_all: usize, mode: &str, rounding: Rounding, photographs: &[PathBuf]) {
    let model = path.file_stem().unwrap().to_string_lossy();
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("litert-{mode}-{}-{model}", photographs.len()));
    std::fs::create_dir_all(&output).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/litert/reference.py");
    let ran = Command::new(python()).arg(script).args([&*output, Path::new(mode), path]).args(photographs).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let read = |name: &str| std::fs::read(output.join(name)).unwrap();
    let names = String::from_utf8(read("names")).unwrap();
    let pixels = read("pixels");
    assert_eq!(names.lines().count(), photographs.len() + 3);

    let imported = mbvc_import::read(path, &ReadOptions::keep_quantization()).unwrap_or_else(|error| panic!("{error}"));
    // As it comes back from a file.
    let container = Container::from_bytes(&imported.container.to_bytes(), "weights").unwrap();
    let [height, width] = imported.spec().resolution;
    let least = if imported.spec().precision == Precision::Int8 { -128 } else { 0 };
    let image_bytes = height * width * imported.spec().input.channels();
    for (at, (name, pixels)) in names.lines().zip(pixels.chunks(image_bytes)).enumerate() {
        let found = tensors(&imported, &container, rounding, pixels);
        assert_eq!(found.len(), tensors_in_all);
        let expected = read(&at.to_string());
        let mut rest = expected.as_slice();
        let mut wrong = Vec::new();
        for (tensor, values) in &found {
            let (bytes, after) = rest.split_at(values.len());
            rest = after;
            let as_stored = |byte: u8| if least < 0 { i32::from(byte.cast_signed()) } else { i32::from(byte) };
            let differing = values.iter().zip(bytes).filter(|(value, byte)| **value != as_stored(**byte)).count();
            if differing > 0 {
                wrong.push(format!("{tensor}: {differing} of {}", values.len()));
            }
        }
        assert!(rest.is_empty(), "{} bytes of LiteRT are left", rest.len());
        assert!(wrong.is_empty(), "{model}, {mode}, {name}: {wrong:?}");
    }
}

#[test]
fn a_photograph_and_flat_images_have_the_bits_of_litert() {
    let Some(photographs) = photographs().filter(|_| has(LITERT)) else { return };
    let Some((int8, uint8)) = shared(INT8).zip(shared(UINT8)) else { return };
    compare(&int8, TENSORS, "xnnpack", Rounding::Xnnpack, &photographs[..1]);
    compare(&uint8, TENSORS, "reference", Rounding::TfliteReference, &photographs[..1]);
}

#[test]
fn what_the_converter_makes_has_the_bits_of_litert() {
    if has(LITERT) {
        for (file, tensors) in [(CONVERTED, CONVERTED_TENSORS), (DENSE, DENSE_TENSORS), (GRAY, GRAY_TENSORS)] {
            compare(&fixture(file), tensors, "xnnpack", Rounding::Xnnpack, &[]);
            compare(&fixture(file), tensors, "reference", Rounding::TfliteReference, &[]);
        }
    }
}

#[test]
#[ignore = "minutes"]
fn all_tensors_of_all_images_have_the_bits_of_litert() {
    let Some(photographs) = photographs().filter(|_| has(LITERT)) else { return };
    for model in [INT8, UINT8].into_iter().filter_map(shared) {
        compare(&model, TENSORS, "xnnpack", Rounding::Xnnpack, &photographs);
        compare(&model, TENSORS, "reference", Rounding::TfliteReference, &photographs);
    }
}
