//! Error messages for invalid files.

mod common;

use std::fs;

use common::fixture;
use mbvc_import::{ErrorKind, ImportError, ReadOptions, read, read_bytes};

fn error_of(bytes: &[u8], name: &str) -> ImportError {
    *read_bytes(bytes, name, &ReadOptions::default()).unwrap_err()
}

/// Replaces all occurrences of some bytes in a fixture by others of the same length.
fn patched(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(fixture(name)).unwrap();
    let mut at = 0;
    let mut count = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        bytes[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
        count += 1;
    }
    assert!(count > 0, "{name} does not contain {from:?}");
    bytes
}

#[test]
fn rejects_another_family_at_its_first_layer() {
    let path = fixture("other_resnet.onnx");
    let error = read(&path, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    let expected = format!(
        "{}: stem, node 'stem_Conv' (Conv): unexpected kernel size\n  \
         expected: a 3x3 convolution of 3 or 1 channels with stride 1 or 2, and an activation\n  \
         found: a 7x7 convolution with stride 2, 3 to 8 channels",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn external_data_names_the_other_file_and_the_remedy() {
    let error = read(&fixture("other_external_data.onnx"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("tensor 'w': cannot read 'weights.bin'") && error.contains("check that this file"),
        "{error}"
    );
    // In memory, a model has no folder.
    let bytes = fs::read(fixture("other_external_data.onnx")).unwrap();
    let error = error_of(&bytes, "m.onnx").to_string();
    assert!(error.contains("'weights.bin'") && error.contains("save_as_external_data=False"), "{error}");
}

#[test]
fn rejects_models_compiled_for_the_edge_tpu() {
    let error = read(&fixture("other_edgetpu.tflite"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("compiled for the Edge TPU") && error.contains("edgetpu_compiler"), "{error}");
}

#[test]
fn rejects_files_without_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let message = |path: &std::path::Path| read(path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message(&write("empty.onnx", b"")).contains("the file is empty"));
    assert!(message(&write("photo.tflite", b"\xff\xd8\xff\xe0")).contains("a JPEG image"));
    assert!(message(&write("notes.txt", b"hello")).contains("unrecognized model format"));
    assert!(message(&write("text.onnx", b"hello, this is not protobuf")).contains("invalid ONNX file"));
    assert!(message(&write("m.h5", b"\x89HDF\r\n\x1a\n")).contains("may be truncated"));
    assert!(message(&folder.path().join("absent.onnx")).contains("no such file"));
    let directory = read(folder.path(), &ReadOptions::default()).unwrap_err();
    assert_eq!(directory.kind, ErrorKind::Io);
    assert!(directory.to_string().contains("a directory, not a file"));
    write("saved_model.pb", b"");
    assert!(message(folder.path()).contains("SavedModel"));
}

#[test]
fn a_wrong_extension_is_a_note_not_an_error() {
    let bytes = fs::read(fixture("same_fused.tflite")).unwrap();
    let imported = read_bytes(&bytes, "model.onnx", &ReadOptions::default()).unwrap();
    assert!(imported.notes.iter().any(|note| note.contains("the file is TFLite")), "{:?}", imported.notes);
}

#[test]
fn reports_a_corrupt_weight_with_its_layer() {
    let bytes = fs::read(fixture("same_plain_op13.onnx")).unwrap();
    let weight = mbvc_import::read(&fixture("same_plain_op13.onnx"), &ReadOptions::default()).unwrap();
    let first = weight.container.tensor("head.bias").unwrap().data.f32s().unwrap()[0].to_le_bytes();
    let at = bytes.windows(4).position(|window| window == first).unwrap();
    let mut damaged = bytes.clone();
    damaged[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = error_of(&damaged, "m.onnx");
    assert_eq!((error.kind, error.role.as_deref()), (ErrorKind::Malformed, Some("head")));
    assert!(error.to_string().contains("1 of 16 values of the bias are not finite"), "{error}");
}

#[test]
fn an_unknown_operator_is_reported_by_name() {
    let error = error_of(&patched("same_old_op10.onnx", b"Clip", b"Gelu"), "m.onnx");
    assert_eq!(error.role.as_deref(), Some("stem"));
    let text = error.to_string();
    assert!(text.contains("expected: relu6 or relu"), "{text}");
    assert!(text.contains("Gelu, an operator not used by MobileNetV2"), "{text}");
}

#[test]
fn rejects_another_clamp() {
    let six = 6f32.to_le_bytes();
    let error = error_of(&patched("same_old_op10.onnx", &six, &8f32.to_le_bytes()), "m.onnx").to_string();
    assert!(error.contains("an activation that clamps to [0, 8]"), "{error}");
}

#[test]
fn a_clamp_without_upper_bound_is_relu() {
    let bytes = patched("same_plain_op13.onnx", &6f32.to_le_bytes(), &f32::INFINITY.to_le_bytes());
    let imported = read_bytes(&bytes, "m.onnx", &ReadOptions::default()).unwrap();
    assert_eq!(imported.container.metadata["mbvc.activation"], "relu");
}

#[test]
fn a_missing_tensor_is_reported() {
    // Nodes precede initializers, so the first use of the name is in the convolution.
    let mut bytes = fs::read(fixture("same_plain_op13.onnx")).unwrap();
    let at = bytes.windows(6).position(|window| window == b"head.w").unwrap();
    bytes[at + 5] = b'q';
    let error = error_of(&bytes, "m.onnx").to_string();
    let expected = "m.onnx: node 'head.conv_Conv' (Conv): input 1, 'head.q', is not produced by an earlier node";
    assert_eq!(error, expected);
}

#[test]
fn rejects_a_foreign_safetensors_file() {
    let bytes = b"\x02\0\0\0\0\0\0\0{}";
    let error = mbvc_import::Container::from_bytes(bytes, "w.safetensors").unwrap_err().to_string();
    assert!(error.contains("not a weights file of mbvc") && error.contains("mbvc import"), "{error}");
    // It is not a model either.
    let error = mbvc_import::inspect_bytes(bytes, "w.safetensors").unwrap_err().to_string();
    assert!(error.contains("unknown tensor names") && error.contains("no PyTorch tensors"), "{error}");
}
