//! Every tensor of a quantized model, by the interpreter and by LiteRT.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{Precision, Rounding};
use mbvc_import::{Container, Imported, ReadOptions, Recovered};
use mbvc_interpreter::run_quantized;
use mbvc_runtime::HeadActivation;
use mbvc_runtime::quantized::arithmetic::{Integer, Softmax};

use super::common::python;

/// Python packages that the script requires.
pub const PACKAGES: &str = "numpy, PIL, ai_edge_litert";

/// The values of the layers after their activations, of the adds and the pool, and a softmax of the file, with their names.
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
    let Recovered { head_activation, head_activation_recorded: recorded, .. } = model.recovered;
    if recorded && head_activation == HeadActivation::Softmax {
        let scale = container.tensor("classifier.scale").unwrap().data.f32s().unwrap()[0];
        let mut probabilities = vec![0; logits.len()];
        Softmax::new(integer, scale).apply(logits.iter().copied(), |at, value| probabilities[at] = value);
        found.push(("softmax".to_owned(), probabilities));
    }
    found
}

/// The tensors that are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Compared {
    /// All, of which there are this many: they are identical.
    All(usize),
    /// All: they are identical.
    Every,
    /// Those up to the first dense layer, whose values may differ by one step. The reference kernel of LiteRT 2.3 for
    /// FULLY_CONNECTED rounds once, in float64; that for CONV_2D and mbvc round twice, in 32 bits.
    ToFirstDense,
}

/// Compares tensors of all images: the photographs, noise, black and white.
pub fn compare(path: &Path, compared: Compared, mode: &str, rounding: Rounding, photographs: &[PathBuf]) {
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
        assert!(!matches!(compared, Compared::All(count) if found.len() != count), "{} tensors", found.len());
        let expected = read(&at.to_string());
        let mut rest = expected.as_slice();
        let mut wrong = Vec::new();
        for (tensor, values) in &found {
            let (bytes, after) = rest.split_at(values.len());
            rest = after;
            let as_stored = |byte: u8| if least < 0 { i32::from(byte.cast_signed()) } else { i32::from(byte) };
            let is_dense =
                compared == Compared::ToFirstDense && (tensor.starts_with("dense") || tensor == "classifier");
            let steps = u32::from(is_dense);
            let differs = |(value, byte): &(&i32, &u8)| value.abs_diff(as_stored(**byte)) > steps;
            let differing = values.iter().zip(bytes).filter(differs).count();
            if differing > 0 {
                wrong.push(format!("{tensor}: {differing} of {}", values.len()));
            }
            if is_dense {
                rest = &[];
                break;
            }
        }
        assert!(rest.is_empty(), "{} bytes of LiteRT are left", rest.len());
        assert!(wrong.is_empty(), "{model}, {mode}, {name}: {wrong:?}");
    }
}
