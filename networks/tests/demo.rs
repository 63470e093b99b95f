//! The demo's network: the committed weights fit its spec and classify most of the committed pictures correctly. Their
//! accuracy is measured by `demo/train.py` and documented in demo/README.md.

use std::path::{Path, PathBuf};

use mbvc::{Rgb, Weights};
use mbvc_networks::demo::{self, DemoBlock, DemoInt8};

/// Total bytes of both weights files.
const WEIGHTS_LIMIT: u64 = 2_500_000;
/// Total bytes of the samples.
const SAMPLES_LIMIT: u64 = 200_000;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(name)
}

fn weights(name: &str) -> Weights {
    Weights::open(file(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn bytes(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

/// Each sample with the class in its name.
fn samples() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(file("samples")).unwrap().map(|entry| entry.unwrap().path());
    let pictures = entries.filter(|path| path.extension().is_some_and(|end| end == "png"));
    pictures.map(|path| (path.file_stem().unwrap().to_str().unwrap().replace('-', " "), path)).collect()
}

fn read(path: &Path) -> Rgb<'static> {
    let picture = image::open(path).unwrap().into_rgb8();
    let size = [picture.height() as usize, picture.width() as usize];
    Rgb::new(picture.into_raw(), size).unwrap()
}

#[test]
fn float_and_int8_name_most_samples() {
    let (float, int8) = (weights("model.safetensors"), weights("model-int8.safetensors"));
    let model = DemoBlock::new(&float).unwrap_or_else(|error| panic!("{error}"));
    let quantized = DemoInt8::new(&int8).unwrap_or_else(|error| panic!("{error}"));
    let samples = samples();
    assert_eq!(samples.len(), 12);
    let pictures: Vec<_> = samples.iter().map(|(shown, path)| (Some(shown.as_str()), read(path))).collect();
    let float = pictures.iter().filter(|(shown, picture)| model.classify(picture).unwrap()[0].label == *shown).count();
    let int8 =
        pictures.iter().filter(|(shown, picture)| quantized.classify(picture).unwrap()[0].label == *shown).count();
    // They were chosen before any network was evaluated on them, and not all of them are recognized.
    assert!(float >= 10 && int8 >= 10, "{float} and {int8} of {}", pictures.len());
}

#[test]
fn labels_are_distinct_and_those_of_the_training() {
    let list = std::fs::read_to_string(file("classes.txt")).unwrap();
    let listed: Vec<_> =
        list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(':').next()).collect();
    for name in ["model.safetensors", "model-int8.safetensors"] {
        assert_eq!(weights(name).labels().unwrap(), listed);
    }
    assert_eq!(listed.len(), DemoBlock::CLASSES);
    assert!(listed.len() >= 60 && listed.iter().collect::<std::collections::BTreeSet<_>>().len() == listed.len());
}

#[test]
fn files_are_small() {
    let both = bytes(&file("model.safetensors")) + bytes(&file("model-int8.safetensors"));
    assert!(both < WEIGHTS_LIMIT, "{both}");
    let samples: u64 = samples().iter().map(|(_, path)| bytes(path)).sum();
    assert!(samples < SAMPLES_LIMIT, "{samples}");
}

#[test]
fn every_sample_is_included() {
    let entries = std::fs::read_dir(file("samples")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".txt")).collect();
    names.sort_unstable();
    assert_eq!(demo::SAMPLES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
}
