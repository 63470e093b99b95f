//! Corrupt files of every kind: an error or an import, never a panic, never much memory.

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::sync::OnceLock;

use common::fixture;
use counting::assert_little_memory;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::NetworkSpec;
use mbvc_import::{Format, ImportError, Imported, ReadOptions, inspect_bytes, read, read_bytes};
use proptest::prelude::*;

const COUNT: usize = 29;

/// The files to corrupt, and a weights file; under 700 KB in total.
fn files() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let names = [
            "same_plain_op13.onnx",
            "same_old_op10.onnx",
            "same_tensorflow_op13.onnx",
            "symmetric_torchvision_op17.onnx",
            "symmetric_dynamic_op18.onnx",
            "same_fused.tflite",
            "same_explicit.tflite",
            "same_f16.tflite",
            "same_int8.tflite",
            "heads/metadata/float.tflite",
            "heads/tflite/caffe_stack.tflite",
            "qdq_channels.onnx",
            "qdq_symmetric.onnx",
            "qdq_asymmetric.onnx",
            "qop_channels.onnx",
            "keras2_nested.h5",
            "keras2_sequential.keras",
            "keras3_nested.keras",
            "keras3_flat.h5",
            "heads/tfjs/graph/model.json",
            "heads/tfjs/teachable_machine/model.json",
            "torch/state_dict.pth",
            "torch/whole_module.pt",
            "torch/legacy.pth.tar",
            "torch/ema.ckpt",
            "torch/script.pt",
            "heads/torchscript/frozen.pt",
            "torch/timm/model.safetensors",
        ];
        let mut files: Vec<_> =
            names.iter().map(|name| (name.to_string(), std::fs::read(fixture(name)).unwrap())).collect();
        let container = read(&fixture("same_fused.tflite"), &ReadOptions::default()).unwrap().container.to_bytes();
        files.push(("tiny.safetensors".into(), container));
        assert_eq!(files.len(), COUNT);
        files
    })
}

/// Strides for the files that do not have them.
fn spec() -> &'static NetworkSpec {
    static SPEC: OnceLock<NetworkSpec> = OnceLock::new();
    SPEC.get_or_init(|| {
        let text = "resolution: 32\nclasses: 5\npadding: symmetric\nstem: { channels: 8, stride: 2 }\nblocks:\n  - { t: 1, c: 8, n: 1, s: 1 }\n  \
                    - { t: 2, c: 8, n: 2, s: 2 }\n  - { t: 3, c: 16, n: 1, s: 2 }\nhead: { channels: 16 }\n";
        mbvc_compiler::spec::parse(&SourceFile::new("s.yaml", text)).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The shards of the TensorFlow.js models, which have different names.
fn shards() -> &'static [(&'static str, &'static [u8])] {
    static SHARDS: OnceLock<[(&str, Vec<u8>); 2]> = OnceLock::new();
    static SLICES: OnceLock<[(&str, &[u8]); 2]> = OnceLock::new();
    let shards = SHARDS.get_or_init(|| {
        let paths = ["graph/group1-shard1of1.bin", "teachable_machine/weights.bin"];
        let read = |path: &str| std::fs::read(fixture("heads/tfjs").join(path)).unwrap();
        [("group1-shard1of1.bin", read(paths[0])), ("weights.bin", read(paths[1]))]
    });
    SLICES.get_or_init(|| shards.each_ref().map(|(name, content)| (*name, content.as_slice())))
}

fn read_with_spec(bytes: &[u8], name: &str) -> Result<Imported, Box<ImportError>> {
    read_bytes(bytes, name, &ReadOptions { spec: Some(spec()), beside: shards(), ..ReadOptions::default() })
}

/// Reads a file in every way. Results are ignored; only termination matters.
fn feed(bytes: &[u8], name: &str) {
    for hint in [None, Some(Format::Onnx), Some(Format::TfLite)] {
        let _ = read_bytes(bytes, name, &ReadOptions { format: hint, ..ReadOptions::keep_quantization() });
        if let Err(error) = read_bytes(bytes, name, &ReadOptions { format: hint, ..ReadOptions::default() }) {
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
    let _ = read_with_spec(bytes, name);
    let _ = inspect_bytes(bytes, name).map(|inspection| inspection.to_string());
}

/// Magic number, version and properties of the machine, as written by PyTorch before 1.6.
const LEGACY_HEAD: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

#[derive(Debug, Clone)]
enum Corruption {
    Byte(usize, u8),
    Word(usize, u32),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn corruption() -> impl Strategy<Value = Corruption> {
    let words = prop_oneof![Just(0), Just(1), Just(u32::MAX), Just(1 << 31), Just(0x7fff_ffff), 0u32..64, any::<u32>()];
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Corruption::Byte(at, value)),
        3 => (any::<usize>(), words).prop_map(|(at, value)| Corruption::Word(at, value)),
        1 => any::<usize>().prop_map(Corruption::Cut),
        1 => (any::<usize>(), 1usize..64).prop_map(|(at, count)| Corruption::Remove(at, count)),
        1 => (any::<usize>(), 1usize..64).prop_map(|(at, count)| Corruption::Repeat(at, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, corruption: &Corruption) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match *corruption {
        Corruption::Byte(at, value) => bytes[at % length] = value,
        Corruption::Word(at, value) => {
            let at = at % length / 4 * 4;
            for (byte, new) in bytes[at..].iter_mut().zip(value.to_le_bytes()) {
                *byte = new;
            }
        }
        Corruption::Cut(at) => bytes.truncate(at % length),
        Corruption::Remove(at, count) => {
            let at = at % length;
            bytes.drain(at..(at + count).min(length));
        }
        Corruption::Repeat(at, count) => {
            let at = at % length;
            let piece = bytes[at..(at + count).min(length)].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

proptest! {
    // 256 cases, or PROPTEST_CASES.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn corrupt_files_do_not_panic(file in 0..COUNT, corruptions in prop::collection::vec(corruption(), 1..6)) {
        let (name, bytes) = &files()[file];
        let mut bytes = bytes.clone();
        corruptions.iter().for_each(|corruption| apply(&mut bytes, corruption));
        feed(&bytes, name);
        assert_little_memory();
    }

    #[test]
    fn no_noise_makes_a_panic(noise in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..8) {
        let heads: [&[u8]; 8] = [
            b"",
            b"\x14\0\0\0TFL3",
            b"\x08\x08\x3a",
            b"\x40\0\0\0\0\0\0\0{",
            b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0",
            b"PK\x03\x04",
            b"\x80\x02",
            LEGACY_HEAD,
        ];
        let head = heads[kind];
        feed(&[head, &noise].concat(), "noise");
        assert_little_memory();
    }
}

/// Runs each test on every 17th corruption, and on all in the slow tests.
macro_rules! corruptions {
    ($($name:ident)*) => {
        mod sampled {
            // Coprime to the lengths of fields, so that every byte of a field is in the sample.
            $( #[test] fn $name() { super::$name(17); } )*
        }
        mod all {
            $( #[test] #[ignore = "reads thousands of files"] fn $name() { super::$name(1); } )*
        }
    };
}
corruptions! {
    no_word_of_a_tflite_file_makes_a_panic
    no_byte_of_a_quantized_onnx_file_makes_a_panic
    no_byte_of_a_pickle_makes_a_panic
    no_byte_of_a_keras_file_makes_a_panic
}

/// Offsets, counts and sizes of a flatbuffer are words: every word of the file, once.
fn no_word_of_a_tflite_file_makes_a_panic(every: usize) {
    const VALUES: [u32; 4] = [0, 7, 0x8000_0000, u32::MAX];
    let (name, bytes) = files().iter().find(|(name, _)| name.contains("int8")).unwrap();
    for (at, value) in (0..bytes.len() / 4).step_by(every).zip(VALUES.into_iter().cycle()) {
        let mut damaged = bytes.clone();
        damaged[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes());
        let _ = read_bytes(&damaged, name, &ReadOptions::default());
        let _ = read_bytes(&damaged, name, &ReadOptions::keep_quantization());
    }
    assert_little_memory();
}

/// Bytes all over a quantized ONNX file, one at a time: types, scales, zero points, names and the edges between nodes.
fn no_byte_of_a_quantized_onnx_file_makes_a_panic(every: usize) {
    const CHANGES: [u8; 4] = [0x01, 0x80, 0xff, 0x07];
    let (name, bytes) = files().iter().find(|(name, _)| name == "qdq_asymmetric.onnx").unwrap();
    // Coprime to the lengths of fields, so that all of their bytes are damaged.
    const STEP: usize = 11;
    let (mut corruptions, mut refused) = (0, 0);
    for (at, change) in (0..bytes.len()).step_by(STEP * every).zip(CHANGES.into_iter().cycle()) {
        let mut damaged = bytes.clone();
        damaged[at] ^= change;
        corruptions += 1;
        let _ = read_bytes(&damaged, name, &ReadOptions::default());
        refused += usize::from(read_bytes(&damaged, name, &ReadOptions::keep_quantization()).is_err());
    }
    // Weights are most of the file, and any byte is valid.
    assert!((corruptions / 4..corruptions).contains(&refused), "{refused} of {corruptions} were refused");
    assert_little_memory();
}

/// The names, numbers and instructions of a pickle, byte by byte. No checksum detects the damage here.
fn no_byte_of_a_pickle_makes_a_panic(every: usize) {
    const CHANGES: [u8; 5] = [0x01, 0x02, 0x80, 0xff, 0x10];
    let (name, bytes) = files().iter().find(|(name, _)| name.contains("legacy")).unwrap();
    assert!(read_with_spec(bytes, name).is_ok());
    // The pickles come before the storages.
    let pickles = bytes.len() / 2;
    let mut refused = 0;
    for (at, change) in (0..pickles).step_by(3 * every).zip(CHANGES.into_iter().cycle()) {
        let mut damaged = bytes.clone();
        damaged[at] ^= change;
        refused += usize::from(read_with_spec(&damaged, name).is_err());
    }
    // Damaged data of an optimizer is harmless.
    assert!(refused > pickles / 3 / every / 10, "{refused} were refused");
    assert_little_memory();
}

/// Addresses, sizes and the configuration of a Keras file, a byte at a time all over it: most of a small one is
/// structure.
fn no_byte_of_a_keras_file_makes_a_panic(every: usize) {
    const CHANGES: [u8; 5] = [0x01, 0x80, 0xff, 0x07, 0x20];
    for (name, step) in [("keras2_nested.h5", 211), ("keras3_flat.h5", 199), ("keras3_nested.keras", 41)] {
        let (_, bytes) = files().iter().find(|(file, _)| file == name).unwrap();
        let (mut corruptions, mut refused) = (0, 0);
        for (at, change) in (0..bytes.len()).step_by(step * every).zip(CHANGES.into_iter().cycle()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            corruptions += 1;
            refused += usize::from(read_bytes(&damaged, name, &ReadOptions::default()).is_err());
        }
        assert!(refused > corruptions / 10, "{name}: {refused} of {corruptions} were refused");
    }
    assert_little_memory();
}

#[test]
fn every_truncation_is_an_error() {
    for (name, bytes) in files() {
        // Two hundred of a large file.
        let step = (bytes.len() / 200).max(97);
        for end in (0..bytes.len()).step_by(step).chain(bytes.len().saturating_sub(3)..bytes.len()) {
            assert!(inspect_bytes(&bytes[..end], name).is_err(), "{name} cut to {end} bytes");
            assert!(read_with_spec(&bytes[..end], name).is_err(), "{name} cut to {end} bytes");
        }
    }
}
