//! TFLite files: quantizations that are kept, dropped or refused, and what happens to an additional tensor or operator at
//! each place.

mod common;

use common::fixture;
use mbvc_compiler::spec::{NetworkSpec, Padding, Precision};
use mbvc_import::{ImportError, Imported, ReadOptions, read, read_bytes};

fn import(name: &str, keep: bool) -> Result<Imported, Box<ImportError>> {
    let options = if keep { ReadOptions::keep_quantization() } else { ReadOptions::default() };
    read(&fixture("heads/tflite").join(name), &options)
}

fn refusal(name: &str) -> String {
    import(name, true).unwrap_err().to_string()
}

#[test]
fn values_of_16_bits_are_refused_unless_dequantized() {
    let error = refusal("int16x8.tflite");
    assert!(error.contains("element type I16") && error.contains("--dequantize"), "{error}");
    let dequantized = import("int16x8.tflite", false).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(dequantized.recovered.precision, Precision::F32);
    assert!(dequantized.notes.iter().any(|note| note.contains("the quantization of values is dropped")));
}

#[test]
fn preprocessing_in_int8_is_refused_unless_dequantized() {
    let error = refusal("rescaling_int8.tflite");
    assert!(error.contains("input: the quantized network has operations before its stem"), "{error}");
    assert!(error.contains("without its preprocessing layers") && error.contains("--dequantize"), "{error}");
    let dequantized = import("rescaling_int8.tflite", false).unwrap_or_else(|error| panic!("{error}"));
    let preprocessing = dequantized.recovered.preprocessing;
    // The constants are quantized, too.
    for (scale, offset) in preprocessing.scale.iter().zip(preprocessing.offset) {
        assert!((scale * 127.5 - 1.0).abs() < 1e-3 && (offset + 1.0).abs() < 1e-3, "{scale} {offset}");
    }
}

#[test]
fn a_dense_layer_at_each_position_is_refused_in_int8() {
    let error = refusal("per_position_int8.tflite");
    assert!(error.contains("expected a global average pool") && error.contains("at each position"), "{error}");
}

#[test]
fn a_size_that_is_set_at_run_time_is_not_that_of_the_placeholder() {
    for (file, multiple) in [("any_size.tflite", 1), ("any_size_padded.tflite", 4)] {
        let imported = import(file, true).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((imported.recovered.resolution, imported.recovered.padding), ([224, 224], Padding::Same), "{file}");
        assert_eq!(imported.recovered.size_multiple, multiple, "{file}");
        let fits = |resolution: [usize; 2]| {
            imported
                .check_against(&NetworkSpec { resolution, ..imported.spec().clone() })
                .map_err(|error| error.to_string())
        };
        fits([32, 44]).unwrap();
        match fits([32, 42]) {
            Ok(()) => assert_eq!(multiple, 1),
            Err(error) => {
                assert!(error.contains("resolution: expected 32x42, found weights for multiples of 4"), "{error}")
            }
        }
        assert_eq!(imported.spec_yaml().contains("  # multiples of 4"), multiple == 4);
        assert!(imported.notes.iter().any(|note| note.contains("the input size is dynamic")), "{:?}", imported.notes);
    }
}

/// Imports the model for images of any size with other sizes of its input.
fn with_sizes(changes: &[[[i32; 4]; 2]]) -> Result<Imported, Box<ImportError>> {
    let mut bytes = std::fs::read(fixture("heads/tflite/any_size.tflite")).unwrap();
    let vector = |sizes: [i32; 4]| [4].iter().chain(&sizes).flat_map(|size| size.to_le_bytes()).collect::<Vec<u8>>();
    for [from, to] in changes.iter().map(|change| change.map(vector)) {
        let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(&from)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(&to);
        }
    }
    read_bytes(&bytes, "a.tflite", &ReadOptions::default())
}

#[test]
fn a_fixed_height_is_kept() {
    let height = [[[1, 1, 1, 3], [1, 96, 1, 3]], [[-1, -1, -1, 3], [-1, 96, -1, 3]]];
    let imported = with_sizes(&height).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(imported.recovered.resolution, [96, 224]);
}

#[test]
fn a_shape_that_contradicts_its_signature_is_refused() {
    let error = with_sizes(&[[[-1, -1, -1, 3], [-1, 7, -1, 3]]]).unwrap_err().to_string();
    assert!(error.contains("the shape and its signature differ") && error.contains("[-1, 7, -1, 3]"), "{error}");
}
