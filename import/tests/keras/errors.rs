//! Error messages for unsupported Keras models.

use std::io::{Cursor, Read as _, Write as _};

use mbvc_import::{ErrorKind, ImportError, ReadOptions, read_bytes};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::fixture;

fn archive() -> ZipArchive<Cursor<Vec<u8>>> {
    ZipArchive::new(Cursor::new(std::fs::read(fixture("keras2_sequential.keras")).unwrap())).unwrap()
}

fn member(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive().by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// The error of importing the sequential model with another configuration.
fn changed(change: impl Fn(String) -> String) -> ImportError {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["config.json", "metadata.json", "model.weights.h5"] {
        let mut content = member(name);
        if name == "config.json" {
            content = change(String::from_utf8(content).unwrap()).into_bytes();
        }
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(&content).unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    *read_bytes(&bytes, "m.keras", &ReadOptions::default()).expect_err("it is changed")
}

/// The error after all occurrences of `from` are replaced by `to`.
fn replaced(from: &str, to: &str) -> String {
    let error = changed(|config| {
        assert!(config.contains(from), "{from}");
        config.replace(from, to)
    });
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    error.to_string()
}

#[test]
fn reports_unsupported_layers_by_name() {
    let lambda = replaced("\"Rescaling\"", "\"Lambda\"");
    assert!(lambda.contains("node 'rescaling' (Lambda): a Lambda layer contains Python code"), "{lambda}");
    let pool = replaced("\"GlobalAveragePooling2D\"", "\"GlobalMaxPooling2D\"");
    assert!(pool.contains("GlobalMaxPooling2D, an operator not used by MobileNetV2"), "{pool}");
    let activation = replaced("\"ReLU\"", "\"PReLU\"");
    assert!(activation.starts_with("m.keras: stem, node 'narrow/Conv1' (Conv2D)"), "{activation}");
    let first = replaced("channels_last", "channels_first");
    assert!(first.contains("channels-first") && first.contains("image_data_format"), "{first}");
    let axis = replaced("\"axis\": [3]", "\"axis\": [2]");
    assert!(axis.contains("node 'narrow/Conv1_BN' (BatchNormalization)") && axis.contains("[2]"), "{axis}");
    let model = replaced("\"class_name\": \"Sequential\"", "\"class_name\": \"MyModel\"");
    assert!(model.contains("class 'MyModel'") && model.contains("subclassed"), "{model}");
}

/// Classes, calls and types that change what a layer computes.
#[test]
fn reports_layers_that_compute_something_else() {
    let class = replaced(
        "\"registered_name\": null, \"build_config\": {\"input_shape\": [null, 24]}",
        "\"registered_name\": \"mine>Dropout\"",
    );
    assert!(class.contains("node 'dropout_1' (Dropout): the layer is not a built-in Keras layer"), "{class}");
    assert!(class.contains("'Dropout' of 'mine'"), "{class}");
    let random = replaced("\"Rescaling\"", "\"RandomFourierFeatures\"");
    assert!(random.contains("RandomFourierFeatures, an operator not used by MobileNetV2"), "{random}");
    let training = replaced("[[[\"Conv1\", 0, 0, {}]]]", "[[[\"Conv1\", 0, 0, {\"training\": true}]]]");
    assert!(training.contains("(BatchNormalization): the layer is called with `training=True`"), "{training}");
    let quantized = replaced("\"dtype\": \"float32\", \"units\"", "\"dtype\": \"int8_from_float32\", \"units\"");
    assert!(quantized.contains("quantized by Keras") && quantized.contains("mbvc quantize"), "{quantized}");
}

#[test]
fn reports_an_activation_after_the_classifier() {
    let error = replaced("\"activation\": \"sigmoid\"", "\"activation\": \"relu\"");
    assert!(error.contains("output, node 'dense_1' (Dense)") && error.contains("clamps to [0, inf]"), "{error}");
}

/// The output of the inner network is removed, with the layers after it.
#[test]
fn reports_a_backbone_without_a_head() {
    let error = changed(|config| {
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let layers = config["config"]["layers"].as_array_mut().unwrap();
        layers.truncate(3);
        let backbone = &mut layers[2]["config"];
        backbone["layers"].as_array_mut().unwrap().pop();
        backbone["output_layers"] = serde_json::json!([["Conv_1_relu", 0, 0]]);
        config.to_string()
    });
    let text = error.to_string();
    assert!(text.contains("node 'narrow/Conv_1' (Conv2D): the network ends with features"), "{text}");
    assert!(text.contains("include_top=True"), "{text}");
}

#[test]
fn corrupt_configurations_are_malformed() {
    let malformed = |change: fn(String) -> String| {
        let error = changed(change);
        assert_eq!(error.kind, ErrorKind::Malformed, "{error}");
        error.to_string()
    };
    let cut = malformed(|config| config[..config.len() / 2].to_owned());
    assert!(cut.starts_with("m.keras: config.json: invalid JSON"), "{cut}");
    let loose = malformed(|config| config.replace("[[\"Conv1\", 0, 0", "[[\"Conv2\", 0, 0"));
    assert!(loose.contains("no layer produces an input of this layer"), "{loose}");
    let names = malformed(|config| config.replace("class_name", "class"));
    assert!(names.contains("no `class_name`"), "{names}");
    let absent = malformed(|config| config.replacen("\"use_bias\": false", "\"use_bias\": true", 1));
    assert!(absent.contains("node 'narrow/Conv1' (Conv2D): the layer's weight `bias` is missing"), "{absent}");
}

#[test]
fn reports_weights_without_a_network_with_the_remedy() {
    let error =
        read_bytes(&member("model.weights.h5"), "m.weights.h5", &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("weights without a network") && error.contains("load_weights"), "{error}");
}

#[test]
fn rejects_an_archive_without_weights() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("config.json", SimpleFileOptions::default()).unwrap();
    writer.write_all(b"{}").unwrap();
    let error =
        read_bytes(&writer.finish().unwrap().into_inner(), "m.keras", &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no member model.weights.h5"), "{error}");
}
