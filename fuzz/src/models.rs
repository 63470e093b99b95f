//! Models of other frameworks, through the importer.

use std::sync::OnceLock;

use mbvc::Weights;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{self, NetworkSpec};
use mbvc_import::{
    ConfigFiles, Container, Format, ImportError, Imported, Quantization, ReadOptions, inspect_bytes, read_bytes,
};

use crate::memory::bounded;
use crate::sidecars;

/// ONNX, in floats and quantized, and its external data.
pub fn onnx(bytes: &[u8]) {
    let pieces = sidecars::split(bytes);
    let beside: Vec<_> = pieces.get(1).map(|data| ("external.onnx.data", *data)).into_iter().collect();
    let options = ReadOptions { format: Some(Format::Onnx), beside: &beside, ..ReadOptions::default() };
    all(pieces[0], "fuzz.onnx", &options);
}

pub fn tflite(bytes: &[u8]) {
    read(bytes, "fuzz.tflite", Format::TfLite);
}

/// Whole models and weights of Keras in HDF5.
pub fn hdf5(bytes: &[u8]) {
    read(bytes, "fuzz.h5", Format::Keras);
}

/// `.keras`: a zip archive of JSON and HDF5.
pub fn keras(bytes: &[u8]) {
    read(bytes, "fuzz.keras", Format::Keras);
}

/// `model.json` of TensorFlow.js, its shard and the metadata of Teachable Machine.
pub fn tfjs(bytes: &[u8]) {
    let pieces = sidecars::split(bytes);
    let piece = |at: usize| pieces.get(at).copied().unwrap_or_default();
    let mut beside = vec![("group1-shard1of1.bin", piece(1)), ("weights.bin", piece(1))];
    beside.extend(pieces.get(2).map(|metadata| ("metadata.json", *metadata)));
    let options = ReadOptions { format: Some(Format::TensorFlowJs), beside: &beside, ..ReadOptions::default() };
    all(pieces[0], "fuzz.json", &options);
}

/// Zip archives of a pickle and storages, and pickles from before 1.6.
pub fn torch(bytes: &[u8]) {
    read(bytes, "fuzz.pth", Format::PyTorch);
}

/// Safetensors with the names of state dicts, and their JSON configuration files.
pub fn state_dict(bytes: &[u8]) {
    let pieces = sidecars::split(bytes);
    let config_files = ConfigFiles { config: pieces.get(1).copied(), preprocessor: pieces.get(2).copied() };
    let options = ReadOptions { config_files, ..ReadOptions::default() };
    all(pieces[0], "fuzz.safetensors", &options);
}

fn read(bytes: &[u8], name: &str, format: Format) {
    all(bytes, name, &ReadOptions { format: Some(format), ..ReadOptions::default() });
}

/// Every way to read `bytes`.
fn all(bytes: &[u8], name: &str, options: &ReadOptions<'_>) {
    bounded(bytes.len(), || {
        let floats = read_bytes(bytes, name, options);
        check(&floats, name);
        // For files without quantized values both ways are equal.
        let quantized = |imported: &Imported| imported.notes.iter().any(|note| note.contains("quantization of values"));
        if floats.as_ref().is_ok_and(quantized) {
            check(&read_bytes(bytes, name, &ReadOptions { quantization: Quantization::Keep, ..*options }), name);
        }
        if floats.as_ref().is_err_and(|error| error.to_string().contains("strides")) {
            for spec in strides() {
                check(&read_bytes(bytes, name, &ReadOptions { spec: Some(spec), ..*options }), name);
            }
        }
        // It reads in the same way again, so a sample is enough.
        let alone = options.config_files.config.is_none() && options.beside.is_empty();
        if floats.is_ok() && alone && bytes.last().is_some_and(|byte| byte % 8 == 0) {
            let inspection = inspect_bytes(bytes, name).unwrap_or_else(|error| panic!("{error}"));
            assert!(!inspection.to_string().is_empty());
        }
    });
}

/// Specs for the files that have no strides: those of the fixtures.
fn strides() -> &'static [NetworkSpec] {
    const TEXTS: [&str; 2] = [
        "resolution: 32\nclasses: 5\npadding: symmetric\nstem: { channels: 8, stride: 2 }\nblocks:\n  \
         - { t: 1, c: 8, n: 1, s: 1 }\n  - { t: 2, c: 8, n: 2, s: 2 }\n  - { t: 3, c: 16, n: 1, s: 2 }\n\
         head: { channels: 16 }\n",
        "resolution: 16\nclasses: 3\npadding: symmetric\nstem: { channels: 8, stride: 2 }\nblocks:\n  \
         - { t: 1, c: 8, n: 1, s: 1 }\nhead: { channels: 8, dense: 4 }\n",
    ];
    static SPECS: OnceLock<Vec<NetworkSpec>> = OnceLock::new();
    SPECS.get_or_init(|| {
        let parse = |text| spec::parse(&SourceFile::new("strides.yaml", text));
        TEXTS.iter().map(|text| parse(*text).unwrap_or_else(|mistakes| panic!("{mistakes}"))).collect()
    })
}

/// An import can be written, opened again by importer and runtime, and compiled with its spec.
fn check(read: &Result<Imported, Box<ImportError>>, name: &str) {
    let imported = match read {
        Ok(imported) => imported,
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with(name), "{text}");
            assert!(text.len() < 20_000, "an error of {} bytes", text.len());
            return;
        }
    };
    let bytes = imported.container.to_bytes();
    let again = Container::from_bytes(&bytes, "again").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again, imported.container);
    let yaml = imported.spec_yaml();
    let parsed = spec::parse(&SourceFile::new("again.yaml", yaml.as_str()));
    let parsed = parsed.unwrap_or_else(|mistakes| panic!("{mistakes}\n{yaml}"));
    assert_eq!(parsed, *imported.spec(), "{yaml}");
    imported.check_against(&parsed).unwrap_or_else(|mismatches| panic!("{mismatches}"));
    let weights = Weights::from_bytes(bytes).unwrap_or_else(|error| panic!("{error}"));
    if let Some(labels) = weights.labels() {
        assert_eq!(labels.len(), imported.recovered.scored_classes());
    }
    let mut swapped = imported.clone();
    swapped.swap_channels();
    swapped.swap_channels();
    assert_eq!(swapped.container.tensors, imported.container.tensors);
}
