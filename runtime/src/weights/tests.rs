use std::collections::HashMap;

use safetensors::tensor::TensorView;

use super::*;
use crate::conventions::{Activation, Padding, Precision};

pub(super) const CONVENTIONS: Conventions = Conventions {
    activation: Activation::Relu6,
    dense_activation: None,
    padding: Padding::Same,
    precision: Precision::F32,
    classes: 3,
};

fn metadata() -> HashMap<String, String> {
    [
        ("mbvc.format", "1"),
        ("mbvc.activation", "relu6"),
        ("mbvc.padding", "symmetric"),
        ("mbvc.precision", "f32"),
        ("mbvc.classes", "3"),
        ("mbvc.preprocessing", "scale 0.5 0.25 1 offset -1 -2 0"),
        ("mbvc.labels", "background\ncat, \"tabby\"\nchat\u{e9}"),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .into()
}

fn bytes(metadata: HashMap<String, String>) -> Vec<u8> {
    let data = [0u8; 12];
    let bias = TensorView::new(safetensors::Dtype::F32, std::vec![3], &data).unwrap();
    safetensors::serialize([("classifier.bias", bias)], Some(metadata)).unwrap()
}

#[test]
fn metadata_is_read() {
    let weights = Weights::from_bytes(bytes(metadata())).unwrap();
    assert_eq!(weights.conventions(), Conventions { padding: Padding::Symmetric, ..CONVENTIONS });
    assert_eq!(weights.preprocessing(), Preprocess { scale: [0.5, 0.25, 1.0], offset: [-1.0, -2.0, 0.0] });
    assert_eq!(weights.labels().unwrap(), ["background", "cat, \"tabby\"", "chat\u{e9}"]);
    assert_eq!(weights.container().tensor("classifier.bias").unwrap().shape.dims(), [3]);
    assert_eq!(weights.container().metadata("mbvc.format").unwrap(), "1");
    assert_eq!(weights.source(), None);
}

#[test]
fn gray_pixels_are_preprocessed_by_one_scale_and_offset() {
    let data = [0u8; 9 * 4 * 4];
    let read = |channels: usize, preprocessing: &str| {
        let mut metadata = metadata();
        metadata.insert("mbvc.preprocessing".to_string(), preprocessing.to_string());
        let shape = std::vec![3, 3, channels, 4 / channels];
        let stem = TensorView::new(safetensors::Dtype::F32, shape, &data).unwrap();
        Weights::from_bytes(safetensors::serialize([("stem.weight", stem)], Some(metadata)).unwrap())
    };
    let one = "scale 0.5 0.5 0.5 offset -1 -1 -1";
    assert!(read(1, one).unwrap().preprocessing().is_gray());
    for other in ["scale 0.5 0.25 0.5 offset -1 -1 -1", "scale 0.5 0.5 0.5 offset -1 -1 0"] {
        let error = read(1, other).unwrap_err().to_string();
        assert!(error.contains("`mbvc.preprocessing` must be the same for red, green and blue"), "{error}");
        assert!(read(2, other).is_ok(), "a stem of an unknown form, which no network has");
    }
}

#[test]
fn labels_are_optional() {
    let mut without = metadata();
    without.remove("mbvc.labels");
    assert_eq!(Weights::from_bytes(bytes(without)).unwrap().labels(), None);
}

#[test]
fn a_static_container_is_borrowed() {
    let container: &'static [u8] = bytes(metadata()).leak();
    assert_eq!(Weights::from_static(container).unwrap().as_bytes().as_ptr(), container.as_ptr());
}

#[test]
fn rejects_unknown_metadata_with_the_reason() {
    for (key, value, expected) in [
        ("mbvc.format", None, "has no `mbvc.format`"),
        ("mbvc.format", Some("2"), "metadata `mbvc.format`: expected 1"),
        ("mbvc.activation", Some("swish"), "metadata `mbvc.activation` must be one of `relu6` `relu`"),
        ("mbvc.padding", None, "metadata `mbvc.padding` is missing"),
        ("mbvc.padding", Some("valid"), "`mbvc.padding` must be one of `same` `symmetric`"),
        ("mbvc.precision", Some("f16"), "`mbvc.precision` must be one of `f32` `int8` `uint8`"),
        ("mbvc.classes", Some("0"), "`mbvc.classes` must be a whole number from 1"),
        ("mbvc.size_multiple", Some("0"), "`mbvc.size_multiple` must be a whole number from 1"),
        ("mbvc.size_multiple", Some("32x32"), "`mbvc.size_multiple` must be a whole number from 1"),
        ("mbvc.classes", Some("a\"b"), "`mbvc.classes` must be a whole number from 1"),
        ("mbvc.preprocessing", Some("caffe"), "`mbvc.preprocessing` must be `scale R G B offset R G B`"),
    ] {
        let mut changed = metadata();
        match value {
            Some(value) => changed.insert(key.to_string(), value.to_string()),
            None => changed.remove(key),
        };
        let error = Weights::from_bytes(bytes(changed)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should contain {expected:?}");
        assert!(error.contains("import"), "{error:?} names no remedy");
    }
}

#[test]
#[cfg(feature = "std")]
fn files_are_named_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.safetensors");
    let error = Weights::open(&absent).unwrap_err();
    assert!(error.to_string().starts_with(&absent.display().to_string()));
    assert!(error.to_string().contains("`mbvc import MODEL`"));
    assert!(core::error::Error::source(&error).is_some());

    let broken = folder.path().join("broken.safetensors");
    std::fs::write(&broken, b"not weights").unwrap();
    let error = Weights::open(&broken).unwrap_err().to_string();
    assert!(error.starts_with(&broken.display().to_string()) && error.contains("not a weights file"), "{error}");

    let folder_itself = Weights::open(folder.path()).unwrap_err().to_string();
    assert!(folder_itself.contains("cannot be read"), "{folder_itself}");

    let good = folder.path().join("good.safetensors");
    std::fs::write(&good, bytes(metadata())).unwrap();
    assert_eq!(Weights::open(&good).unwrap().source(), Some(&*good.display().to_string()));
}

#[test]
#[cfg(all(feature = "std", unix))]
#[cfg_attr(miri, ignore = "starts a process")]
fn rejects_pipes_and_devices() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&*pipe, std::path::Path::new("/dev/zero"), folder.path()] {
        let message = Weights::open(path).unwrap_err().to_string();
        assert_eq!(
            message,
            alloc::format!("{}: cannot be read: not a regular file; save the weights to a file", path.display())
        );
    }
}
