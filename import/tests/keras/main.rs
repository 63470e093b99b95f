//! Models of Keras 2 and 3, imported and interpreted, against what Keras itself computes.

#[path = "../common/mod.rs"]
mod common;
mod errors;
mod heads;
#[path = "../common/litert.rs"]
mod litert;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/small.rs"]
mod small;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::fixture;
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{Fusion, Padding, Preprocessing};
use mbvc_import::{Format, Imported, ReadOptions, inspect_bytes, read};
use mbvc_interpreter::{self as interp, Mode};
use mbvc_runtime::HeadActivation;
use serde_json::Value as Json;

fn import(path: &Path) -> Imported {
    read(path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The logits of an image of bytes, which are brought to what the network takes as the file says.
fn logits(imported: &Imported, pixels: &[f32]) -> Vec<f32> {
    let Preprocessing { scale, offset } = imported.recovered.preprocessing;
    let image: Vec<f32> = pixels.iter().enumerate().map(|(at, pixel)| pixel * scale[at % 3] + offset[at % 3]).collect();
    let mut graph = lower(imported.spec());
    passes::run(&mut graph, Fusion::None, None, &mut |_, _| {}).unwrap();
    interp::run(&graph, &imported.container, &image, Mode::F64, &mut |_, _, _| {}).unwrap()
}

fn assert_near(found: &[f32], wanted: &[f64], name: &str) {
    assert_eq!(found.len(), wanted.len(), "{name}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((f64::from(*found) - wanted).abs() < 1e-4, "{name}: {found} for {wanted}");
    }
}

/// By file: whether the model takes bytes, and its logits; made by `fixtures/keras_files.py`.
fn expected() -> Vec<(String, bool, Vec<f64>)> {
    let text = std::fs::read_to_string(fixture("keras_expected.json")).unwrap();
    let files: serde_json::Map<String, Json> = serde_json::from_str(&text).unwrap();
    let entry = |(name, entry): (String, Json)| {
        let logits: Vec<f64> = serde_json::from_value(entry["logits"].clone()).unwrap();
        (name, entry["takes_bytes"].as_bool().unwrap(), logits)
    };
    files.into_iter().map(entry).collect()
}

#[test]
fn imported_models_compute_what_keras_does() {
    let pixels: Vec<f32> =
        (0..32 * 40 * 3).map(|at| ((at / 120 * 7 + at / 3 % 40 * 3 + at % 3 * 5) % 17 * 15) as f32).collect();
    let expected = expected();
    assert_eq!(expected.len(), 4);
    for (name, takes_bytes, wanted) in expected {
        let imported = import(&fixture(&name));
        assert_near(&logits(&imported, &pixels), &wanted, &name);
        assert_eq!(imported.recovered.preprocessing_recorded, takes_bytes, "{name}");
        assert_eq!(imported.format, Format::Keras);
    }
}

#[test]
fn the_network_and_its_conventions_are_found() {
    for (name, classes, epsilon, blocks, source) in [
        ("keras2_nested.h5", 3, 1e-3, 3, "Keras 2."),
        ("keras2_sequential.keras", 2, 1e-3, 3, "Keras 2."),
        ("keras3_nested.keras", 3, 1e-3, 3, "Keras 3."),
        ("keras3_flat.h5", 1, 1e-2, 2, "Keras 3."),
    ] {
        let imported = import(&fixture(name));
        let network = &imported.recovered;
        assert_eq!((network.classes, network.batch_norm_epsilon), (classes, epsilon), "{name}");
        assert_eq!((network.resolution, network.padding), ([32, 40], Padding::Same), "{name}");
        assert_eq!((network.stem, network.head), ([8, 2], 24), "{name}");
        assert_eq!(network.rows.iter().map(|row| row.repeat).sum::<usize>(), blocks, "{name}");
        let range = network.preprocessing.scale.iter().zip(network.preprocessing.offset);
        assert!(range.clone().all(|(scale, offset)| (scale * 127.5 - 1.0).abs() < 1e-6 && offset == -1.0), "{name}");
        let text = &imported.container.metadata["mbvc.source"];
        assert!(text.starts_with(&format!("Keras {name} ({source}")), "{text}");
    }
}

/// Layers are reported by their own names, with that of the network that contains them.
#[test]
fn facts_and_notes_say_what_was_found_where() {
    let nested = import(&fixture("keras3_nested.keras"));
    let how = |key| &nested.facts.iter().find(|fact| fact.key == key).unwrap().how;
    assert!(how("classes").contains("'dense") && how("classes").contains("(Dense)"), "{}", how("classes"));
    assert_eq!(how("padding"), "padding of stem");
    assert!(nested.notes.iter().any(|note| note.contains("augmentation layers")), "{:?}", nested.notes);
    let one = import(&fixture("keras3_flat.h5"));
    assert!(one.notes.iter().any(|note| note.contains("single logit")), "{:?}", one.notes);
    let sigmoid = import(&fixture("keras2_sequential.keras"));
    assert_eq!(sigmoid.recovered.head_activation, HeadActivation::Sigmoid);
}

#[test]
fn inspection_reads_them_too() {
    let bytes = std::fs::read(fixture("keras3_nested.keras")).unwrap();
    let inspection = inspect_bytes(&bytes, "model.bin").unwrap();
    assert_eq!(inspection.format, "Keras");
}

/// A Python with both versions of Keras; without one the test is skipped with a note, or fails where one is named.
fn python() -> Option<String> {
    let named = std::env::var("MBVC_SLOW_PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let ran = Command::new(&python).args(["-c", "import tensorflow, keras, tf_keras, h5py"]).output();
    if ran.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(named.is_none(), "{python} lacks tensorflow, keras, tf_keras or h5py");
    eprintln!("skipped: {python} lacks tensorflow, keras, tf_keras or h5py");
    None
}

#[test]
#[ignore = "minutes, and TensorFlow from `scripts/requirements-slow.txt`"]
fn the_networks_of_keras_applications_compute_what_keras_does() {
    let Some(python) = python() else { return };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("keras");
    std::fs::create_dir_all(&folder).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keras/reference.py");
    let ran = Command::new(python).args([Path::new(script), &folder]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let models: serde_json::Map<String, Json> =
        serde_json::from_slice(&std::fs::read(folder.join("models.json")).unwrap()).unwrap();
    assert_eq!(models.len(), 34);
    for (name, model) in models {
        let imported = import(&folder.join(&name));
        let size = |key: &str| model[key].as_u64().unwrap() as usize;
        let network = &imported.recovered;
        assert_eq!(network.width, model["alpha"].as_f64().unwrap(), "{name}");
        assert_eq!((network.resolution, network.classes), ([size("height"), size("width")], size("classes")), "{name}");
        assert_eq!(network.padding, Padding::Same, "{name}");
        let weights_alone = imported.notes.iter().any(|note| note.contains("contains weights without a network"));
        assert_eq!(weights_alone, model["weights"].as_bool().unwrap(), "{name}: {:?}", imported.notes);
        let bytes = |suffix| std::fs::read(folder.join(format!("{name}.{suffix}"))).unwrap();
        let pixels: Vec<f32> = bytes("pixels").into_iter().map(f32::from).collect();
        let logits_of = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
        let wanted: Vec<f64> = bytes("logits").chunks_exact(4).map(logits_of).collect();
        let found = logits(&imported, &pixels);
        let largest = wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        eprintln!("{name}: logits up to {largest:.2}");
        assert_near(&found, &wanted, &name);
    }
    std::fs::remove_dir_all(folder).unwrap();
}
