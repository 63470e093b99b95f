//! TFLite files: quantizations that are kept, dropped or refused, and what happens to an additional tensor or operator at
//! each place.

mod common;

use common::fixture;
use mbvc_compiler::spec::Precision;
use mbvc_import::{ImportError, Imported, ReadOptions, read};

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
fn a_softmax_over_another_axis_is_refused() {
    let error = refusal("expanded_softmax.tflite");
    assert!(error.contains("the reshape changes the channels") && error.contains("[?, 3, 1]"), "{error}");
}
