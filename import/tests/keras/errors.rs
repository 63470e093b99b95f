//! Error messages for unsupported Keras models.

use std::io::{Cursor, Read as _, Write as _};

use mbvc_import::{ErrorKind, ImportError, Imported, ReadOptions, read_bytes};
use mbvc_runtime::HeadActivation;
use serde_json::json;
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

/// The sequential model with another configuration.
fn imported(change: impl Fn(String) -> String) -> Result<Imported, Box<ImportError>> {
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
    read_bytes(&bytes, "m.keras", &ReadOptions::default())
}

/// The error of importing the sequential model with another configuration.
fn changed(change: impl Fn(String) -> String) -> ImportError {
    *imported(change).expect_err("it is changed")
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
    assert!(first.contains("found: channels_first") && first.contains("image_data_format"), "{first}");
    let first = replaced("channels_last", "channelsFirst");
    assert!(first.contains("found: channelsFirst"), "{first}");
    let axis = replaced("\"axis\": [3]", "\"axis\": [2]");
    assert!(axis.contains("node 'narrow/Conv1_BN' (BatchNormalization)") && axis.contains("[2]"), "{axis}");
    let model = replaced("\"class_name\": \"Sequential\"", "\"class_name\": \"MyModel\"");
    assert!(model.contains("class 'MyModel'") && model.contains("subclassed"), "{model}");
}

/// A policy in another notation is not taken as an absent one.
#[test]
fn an_unknown_dtype_policy_is_named() {
    let policy = |config: &str| {
        replaced("\"dtype\": \"float32\", \"filters\": 8,", &format!("\"dtype\": {config}, \"filters\": 8,"))
    };
    for config in [
        r#"{"class_name": "DTypePolicyMap", "config": {"name": "map", "default_policy": null, "policy_map": {}}}"#,
        r#"{"class_name": "DTypePolicy", "config": {"policy": "float32"}}"#,
        r#"["float32"]"#,
        r#""float31""#,
        r#""int32""#,
    ] {
        let error = policy(config);
        assert!(error.contains("node 'narrow/Conv1' (Conv2D): unsupported `dtype` of the layer"), "{config}: {error}");
    }
    let quantized =
        policy(r#"{"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8", "source_name": "float32"}}"#);
    assert!(quantized.contains("the weights of the layer are quantized by Keras"), "{quantized}");
}

/// Constants that Keras 3 stores as arrays or tensors are the same as plain ones.
#[test]
fn arrays_and_tensors_are_read() {
    for class in ["__numpy__", "__tensor__"] {
        let offset = json!({"class_name": class, "config": {"value": [-0.5, -1.0, -2.0], "dtype": "float32"}});
        let largest = json!({"class_name": class, "config": {"value": [6.0], "dtype": "float32"}});
        let found = imported(|config| {
            let config = config.replace("\"offset\": -1", &format!("\"offset\": {offset}"));
            config.replace("\"max_value\": 6.0", &format!("\"max_value\": {largest}"))
        });
        let network = found.unwrap().recovered;
        assert_eq!(network.preprocessing.offset, [-0.5, -1.0, -2.0]);
        assert_eq!(network.activation.word(), "relu6");
    }
}

/// Axis 1 is that of the channels for vectors only, but not for images of one pixel.
#[test]
fn softmax_is_along_the_channels() {
    let with_softmax = |axis: i64, keepdims: bool| {
        imported(move |config| {
            let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
            let layers = config["config"]["layers"].as_array_mut().unwrap();
            let pool = layers[2]["config"]["layers"].as_array_mut().unwrap().last_mut().unwrap();
            assert_eq!(pool["class_name"], "GlobalAveragePooling2D");
            pool["config"]["keepdims"] = json!(keepdims);
            let classifier = layers.last_mut().unwrap();
            classifier["config"]["activation"] = json!("linear");
            layers.push(json!({"class_name": "Softmax", "config": {"name": "scores", "axis": axis}}));
            config.to_string()
        })
    };
    for (axis, keepdims) in [(-1, false), (-1, true), (1, false)] {
        assert_eq!(with_softmax(axis, keepdims).unwrap().recovered.head_activation, HeadActivation::Softmax);
    }
    for (axis, keepdims) in [(1, true), (2, false)] {
        let error = with_softmax(axis, keepdims).unwrap_err().to_string();
        assert!(error.contains("node 'scores' (Softmax): the softmax is not over the last axis"), "{error}");
    }
}

/// Settings that are present, but have a type that is not read.
#[test]
fn reports_settings_of_another_type_by_layer_and_key() {
    let offset = replaced("\"offset\": -1", "\"offset\": {\"class_name\": \"__bytes__\"}");
    assert!(offset.contains("node 'rescaling' (Rescaling): unsupported `offset` of the layer"), "{offset}");
    let epsilon = replaced("\"epsilon\": 0.001", "\"epsilon\": \"0.3\"");
    assert!(epsilon.contains("(BatchNormalization): unsupported `epsilon` of the layer"), "{epsilon}");
    let largest = replaced("\"max_value\": 6.0", "\"max_value\": [6.0, 6.0]");
    assert!(largest.contains("(ReLU): unsupported `max_value` of the layer"), "{largest}");
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
    let number = replaced("[[[\"Conv1\", 0, 0, {}]]]", "[[[\"Conv1\", 0, 0, {\"training\": 1}]]]");
    assert!(number.contains("(BatchNormalization): the layer is called with `training=True`"), "{number}");
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
