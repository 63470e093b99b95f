//! Files of PyTorch's, as torchvision, timm and transformers make them; see `fixtures/torch_files.py`.

#[path = "../common/mod.rs"]
mod common;
mod heads;
mod models;
mod names;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/small.rs"]
mod small;

use std::path::Path;

use common::fixture;
use mbvc_compiler::spec::{Activation, Padding, Preprocessing};
use mbvc_import::{Format, ImportError, Imported, ReadOptions, read};
use small::{HEADS, logits, spec};

/// The network of all files but those of transformers, whose table is fixed.
const SMALL: &str = "
resolution: 32
classes: 5
padding: symmetric
stem: { channels: 8, stride: 2 }
blocks:
  - { t: 1, c: 8, n: 1, s: 1 }
  - { t: 2, c: 8, n: 2, s: 2 }
  - { t: 3, c: 16, n: 1, s: 2 }
head: { channels: 16 }
";

/// transformers' table at width 0.1, expanded by 2 instead of 6.
const LONG: &str = "
resolution: 48
classes: 5
stem: { channels: 8, stride: 2 }
blocks:
  - { t: 1, c: 8, n: 1, s: 1, residual: false }
  - { t: 2, c: 8, n: 2, s: 2 }
  - { t: 2, c: 8, n: 3, s: 2 }
  - { t: 2, c: 8, n: 4, s: 2 }
  - { t: 2, c: 16, n: 3, s: 1 }
  - { t: 2, c: 16, n: 3, s: 2 }
  - { t: 2, c: 32, n: 1, s: 1 }
head: { channels: 128 }
";

fn torch(name: &str) -> std::path::PathBuf {
    fixture("torch").join(name)
}

fn import_with(path: &Path, text: Option<&str>) -> Result<Imported, Box<ImportError>> {
    let spec = text.map(spec);
    read(path, &ReadOptions { spec: spec.as_ref(), ..ReadOptions::default() })
}

fn import(name: &str, text: Option<&str>) -> Imported {
    import_with(&torch(name), text).unwrap_or_else(|error| panic!("{error}"))
}

fn fact<'i>(imported: &'i Imported, key: &str) -> (&'i str, &'i str) {
    let fact = imported.facts.iter().find(|fact| fact.key == key).unwrap_or_else(|| panic!("no fact {key}"));
    (&fact.value, &fact.how)
}

const FILES: [(&str, Option<&str>, usize); 7] = [
    ("state_dict.pth", Some(SMALL), 32),
    ("whole_module.pt", None, 32),
    ("script.pt", Some(SMALL), 32),
    ("legacy.pth.tar", Some(SMALL), 32),
    ("ema.ckpt", Some(SMALL), 32),
    ("timm/model.safetensors", Some(SMALL), 32),
    ("transformers/model.safetensors", Some(LONG), 48),
];

#[test]
fn logits_are_those_of_the_framework() {
    let text = std::fs::read_to_string(torch("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, text, size) in FILES {
        let imported = import(name, text);
        let wanted: Vec<f64> = serde_json::from_value(expected[name].clone()).unwrap();
        let found = logits(&imported, [size; 2]);
        assert_eq!(found.len(), wanted.len(), "{name}");
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((f64::from(*found) - wanted).abs() < 1e-4, "{name}: {found} for {wanted}");
        }
    }
}

#[test]
fn every_file_gives_the_same_network() {
    for (name, text, size) in FILES.into_iter().filter(|(name, ..)| !name.starts_with("transformers")) {
        let network = import(name, text).recovered;
        assert_eq!((network.classes, network.stem, network.head), (5, [8, 2], 16), "{name}");
        let rows: Vec<_> =
            network.rows.iter().map(|row| [row.expansion, row.channels, row.repeat, row.stride]).collect();
        assert_eq!(rows, [[1, 8, 1, 1], [2, 8, 2, 2], [3, 16, 1, 2]], "{name}");
        assert_eq!((network.padding, network.activation), (Padding::Symmetric, Activation::Relu6), "{name}");
        let size = if name.starts_with("timm") { size } else { 224 };
        assert_eq!(network.resolution, [size; 2], "{name}");
        let epsilon = if name == "whole_module.pt" { 1e-2 } else { 1e-5 };
        assert_eq!(network.batch_norm_epsilon, epsilon, "{name}");
    }
}

#[test]
fn facts_tell_where_they_are_from() {
    let imported = import("state_dict.pth", Some(SMALL));
    assert_eq!(imported.format, Format::PyTorch);
    assert_eq!(imported.container.metadata["mbvc.source"], "PyTorch state_dict.pth (torchvision)");
    assert_eq!(fact(&imported, "names").0, "torchvision");
    assert!(fact(&imported, "blocks").1.contains("spec, because"), "{:?}", imported.facts);
    for key in ["padding", "activation", "batch_norm_epsilon"] {
        assert!(fact(&imported, key).1.contains("convention of torchvision"), "{:?}", imported.facts);
    }
    assert!(fact(&imported, "resolution").1.contains("does not record"), "{:?}", imported.facts);
    let imagenet = Preprocessing::from_mean_and_std([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    assert_eq!(imported.recovered.preprocessing, imagenet);

    let whole = import("whole_module.pt", None);
    assert!(fact(&whole, "blocks").1.contains("attributes of the modules"), "{:?}", whole.facts);
    assert!(fact(&whole, "batch_norm_epsilon").1.contains("attributes of the modules"), "{:?}", whole.facts);

    let legacy = import("legacy.pth.tar", Some(SMALL));
    let (count, ignored) = fact(&legacy, "ignored");
    assert_eq!(count, "15 tensors");
    assert!(ignored.contains("counters: ") && ignored.contains("training state: optimizer."), "{ignored}");
    assert_eq!(fact(&legacy, "framing").0, "crop 256/224 bilinear");
    assert!(fact(&legacy, "names").1.contains("`state_dict.module.`"), "{:?}", legacy.facts);
    let script = import("script.pt", Some(SMALL));
    assert!(script.container.metadata["mbvc.source"].contains("TorchScript"));
    let averaged = import("ema.ckpt", Some(SMALL));
    assert!(fact(&averaged, "names").1.contains("`state_dict_ema._orig_mod.`"), "{:?}", averaged.facts);
    assert!(averaged.notes.iter().any(|note| note.contains("averaged weights")), "{:?}", averaged.notes);
    assert!(fact(&averaged, "ignored").1.contains("another copy of the network: state_dict."), "{:?}", averaged.facts);
}

#[test]
fn files_beside_the_weights_are_read() {
    let timm = import("timm/model.safetensors", Some(SMALL));
    assert_eq!(timm.format, Format::SafeTensors);
    assert_eq!(timm.recovered.preprocessing, Preprocessing::from_mean_and_std([0.5, 0.4, 0.3], [0.25, 0.2, 0.1]));
    assert!(timm.recovered.preprocessing_recorded);
    assert_eq!(timm.container.metadata["mbvc.labels"], "ant\nbee\ncow\ndog\neel");
    assert_eq!(fact(&timm, "labels"), ("5", "config.json"));
    assert_eq!(fact(&timm, "framing").0, "crop 36/32 bicubic");

    let transformers = import("transformers/model.safetensors", Some(LONG));
    // Its first block has none, though the shapes allow it.
    transformers.check_against(&spec(LONG)).unwrap();
    assert!(transformers.check_against(&spec(&LONG.replace(", residual: false", ""))).is_err());
    assert_eq!(transformers.recovered.resolution, [48, 48]);
    assert_eq!(transformers.recovered.padding, Padding::Same);
    assert_eq!(transformers.recovered.batch_norm_epsilon, 1e-3);
    assert_eq!(transformers.container.metadata["mbvc.labels"].lines().nth(3), Some("teapot, kettle"));
    assert_eq!(fact(&transformers, "preprocessing").1, "preprocessor_config.json");
    assert_eq!(fact(&transformers, "padding"), ("same", "config.json"));

    // Without them: the family's own.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::copy(torch("timm/model.safetensors"), &path).unwrap();
    let alone = import_with(&path, Some(SMALL)).unwrap();
    assert_eq!(alone.recovered.resolution, [224, 224]);
    assert_eq!(fact(&alone, "framing"), ("crop 256/224 bicubic", "convention of timm; not recorded in the file"));
    assert!(!alone.container.metadata.contains_key("mbvc.labels"));
    // Of another number of classes, or damaged: a note.
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"architecture": "mobilenetv2_100", "label_names": ["a"]}"#).unwrap();
    let other = import_with(&path, Some(SMALL)).unwrap();
    assert!(other.notes.iter().any(|note| note.contains("1 labels for 5 classes")), "{:?}", other.notes);
    std::fs::write(&config, "{").unwrap();
    let damaged = import_with(&path, Some(SMALL)).unwrap();
    assert!(damaged.notes.iter().any(|note| note.contains("config.json is ignored")), "{:?}", damaged.notes);
}

/// torchvision's quantizable networks have the same names and ReLU.
#[test]
fn a_spec_provides_the_activation_that_a_state_dict_does_not_record() {
    let relu = SMALL.replace("padding:", "activation: relu\npadding:");
    let imported = import("state_dict.pth", Some(&relu));
    assert_eq!(imported.recovered.activation, Activation::Relu);
    assert_eq!(fact(&imported, "activation"), ("relu", "the spec; not recorded in the file"));
    imported.check_against(&spec(&relu)).unwrap();
}

/// A state dict does not record the activation between dense layers.
#[test]
fn a_spec_provides_the_activation_of_dense_layers() {
    let text = &HEADS.replace("channels: 8 }\n", "channels: 8, dense: 4, dense_activation: relu6 }\n");
    let imported = import_with(&fixture("heads/torch/dense.pth"), Some(text)).unwrap();
    assert_eq!((&*imported.recovered.dense, imported.recovered.dense_activation), (&[4][..], Activation::Relu6));
    imported.check_against(&spec(text)).unwrap();
    let other = imported.check_against(&spec(&text.replace("relu6", "relu"))).unwrap_err().to_string();
    assert!(other.contains("dense_activation: expected relu, found relu6"), "{other}");
}

#[test]
fn unknown_strides_ask_for_a_spec() {
    let error = import_with(&torch("state_dict.pth"), None).unwrap_err().to_string();
    assert!(error.contains("unknown strides") && error.contains("--spec FILE"), "{error}");
    assert!(error.contains("1x:8 2x:8 2x:8 3x:16"), "{error}");
    let short = SMALL.replace("n: 2, s: 2", "n: 1, s: 2");
    let error = import_with(&torch("state_dict.pth"), Some(&short)).unwrap_err().to_string();
    assert!(error.contains("the file has 4 blocks, the spec 3"), "{error}");
}

#[test]
fn a_container_is_no_model_of_another_program() {
    let bytes = import("timm/model.safetensors", Some(SMALL)).container.to_bytes();
    let error = mbvc_import::read_bytes(&bytes, "w.safetensors", &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("weights file of mbvc") && error.contains("cannot be imported again"), "{error}");
}
