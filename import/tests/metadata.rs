//! Labels and normalization in the metadata of TFLite files, written by the library of TensorFlow Lite Support
//! (`fixtures/heads_metadata_files.py`).

mod common;

use common::fixture;
use mbvc_compiler::spec::Preprocessing;
use mbvc_import::{ImportError, Imported, ReadOptions, read_bytes};

const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
const DEVIATION: [f32; 3] = [58.395, 57.12, 57.375];

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture("heads/metadata").join(name)).unwrap()
}

fn import(bytes: &[u8]) -> Result<Imported, Box<ImportError>> {
    read_bytes(bytes, "m.tflite", &ReadOptions::default())
}

/// `bytes` with all occurrences of `from` replaced.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!((1..4).contains(&places.len()), "{places:?}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn labels_and_normalization_are_read() {
    let imported = import(&bytes("float.tflite")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(imported.container.metadata["mbvc.labels"], "crane\nbird\nplate");
    let network = &imported.recovered;
    assert!(network.preprocessing_recorded);
    for channel in 0..3 {
        let [scale, offset] = [network.preprocessing.scale[channel], network.preprocessing.offset[channel]];
        assert!((scale * DEVIATION[channel] - 1.0).abs() < 1e-6, "{scale}");
        assert!((offset * DEVIATION[channel] + MEAN[channel]).abs() < 1e-4, "{offset}");
    }
    let how = |key| &imported.facts.iter().find(|fact| fact.key == key).unwrap().how;
    assert_eq!(how("labels"), "'labels.txt' in the TFLite file");
    assert_eq!(how("preprocessing"), "normalization in the metadata of the file");
}

#[test]
fn a_normalization_must_fit_the_arithmetic_of_the_graph() {
    let file = bytes("rescaling.tflite");
    let imported = import(&file).unwrap_or_else(|error| panic!("{error}"));
    let Preprocessing { scale, offset } = imported.recovered.preprocessing;
    assert!(
        scale.iter().all(|scale| (scale * 127.5 - 1.0).abs() < 1e-6) && offset == [-1.0; 3],
        "{scale:?} {offset:?}"
    );
    // Vectors of one number.
    let deviations = |deviation: f32| [1u32.to_le_bytes(), deviation.to_le_bytes()].concat();
    let error = import(&replaced(file, &deviations(1.0), &deviations(255.0))).unwrap_err().to_string();
    assert!(
        error.contains("input: the normalization in the metadata contradicts the arithmetic on the input"),
        "{error}"
    );
    assert!(error.contains("0.0000..255.0000") && error.contains("0.0000..1.0000"), "{error}");
}

#[test]
fn unreadable_labels_are_reported() {
    let note = |bytes: Vec<u8>| {
        let imported = import(&bytes).unwrap_or_else(|error| panic!("{error}"));
        assert!(!imported.container.metadata.contains_key("mbvc.labels"));
        imported.notes.into_iter().find(|note| note.contains("labels")).unwrap()
    };
    let file = bytes("float.tflite");
    // The name in the archive is not followed by zero.
    let renamed = note(replaced(file.clone(), b"labels.txt\0", b"babels.txt\0"));
    assert!(renamed.contains("the labels 'babels.txt' of the TFLite metadata are ignored"), "{renamed}");
    assert!(renamed.contains("has no such file; pass --labels FILE"), "{renamed}");
    let start = file.windows(4).position(|window| window == b"PK\x03\x04").unwrap();
    let without = note(file[..start].to_vec());
    assert!(without.contains("no archive follows the model"), "{without}");
    let error = |bytes: &[u8]| import(bytes).unwrap_err().to_string();
    let cut = error(&file[..file.len() - 20]);
    assert!(cut.contains("invalid zip archive"), "{cut}");
    let damaged = error(&replaced(file, b"crane", b"\xffrane"));
    assert!(damaged.contains("member 'labels.txt' of the archive: cannot be unpacked"), "{damaged}");
}

#[test]
fn invalid_normalizations_are_errors() {
    let error = |from: f32, to: f32| {
        let file = replaced(bytes("float.tflite"), &from.to_le_bytes(), &to.to_le_bytes());
        import(&file).unwrap_err().to_string()
    };
    for text in [error(DEVIATION[1], 0.0), error(MEAN[0], f32::NAN)] {
        assert!(text.contains("buffer 'TFLITE_METADATA': the normalization has invalid numbers"), "{text}");
    }
    let file = import(&replaced(bytes("float.tflite"), b"M001", b"M0?1")).unwrap_err().to_string();
    assert!(file.contains("`M001` at byte 4"), "{file}");
}
