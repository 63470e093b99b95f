//! Keras: every layer of Keras 2 and 3.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};

use mbvc_import::{ReadOptions, read, read_bytes};
use serde_json::{Value as Json, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::common::fixture;

const FILE: &str = "keras2_sequential.keras";
/// Names in `keras.layers` and `tf_keras.layers`.
const LAYERS: &str = include_str!("keras_layers.txt");

/// Layers that have no effect at inference. `Flatten` keeps vectors, and `ReLU` keeps activated values.
const WITHOUT_EFFECT: &str = "ActivityRegularization AlphaDropout AugMix CutMix Dropout GaussianDropout GaussianNoise Identity InputLayer \
    MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform \
    RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert RandomPerspective \
    RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom \
    SpatialDropout2D";

/// Places: the position in the outer network, or after the stem of the inner one.
const PLACES: [(&str, Option<usize>); 4] =
    [("before", Some(1)), ("inside", None), ("pool", Some(3)), ("after", Some(5))];

fn members() -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(std::fs::read(fixture(FILE)).unwrap())).unwrap();
    let names = ["config.json", "metadata.json", "model.weights.h5"].map(str::to_owned);
    let mut read = |name: String| {
        let mut bytes = Vec::new();
        archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        (name, bytes)
    };
    names.into_iter().map(&mut read).collect()
}

/// The configuration with an additional layer `extra` of this class.
fn with_extra(config: &Json, class: &str, place: Option<usize>) -> Json {
    let mut config = config.clone();
    let settings = json!({"name": "extra", "trainable": true, "dtype": "float32"});
    let mut extra = json!({"module": "keras.layers", "class_name": class, "config": settings, "registered_name": null});
    let outer = config["config"]["layers"].as_array_mut().unwrap();
    let Some(at) = place else {
        let inner = outer.iter_mut().find(|layer| layer["class_name"] == "Functional").unwrap();
        let inner = inner["config"]["layers"].as_array_mut().unwrap();
        let stem = inner.iter().position(|layer| layer["config"]["name"] == "Conv1_relu").unwrap();
        for layer in inner.iter_mut() {
            let inbound = layer["inbound_nodes"].to_string().replace("\"Conv1_relu\"", "\"extra\"");
            layer["inbound_nodes"] = serde_json::from_str(&inbound).unwrap();
        }
        extra["name"] = json!("extra");
        extra["inbound_nodes"] = json!([[["Conv1_relu", 0, 0, {}]]]);
        inner.insert(stem + 1, extra);
        return config;
    };
    outer.insert(at, extra);
    config
}

#[test]
fn every_additional_layer_is_known_or_refused_by_name() {
    let mut members = members();
    let config: Json = serde_json::from_slice(&members["config.json"]).unwrap();
    let plain = read(&fixture(FILE), &ReadOptions::default()).unwrap();
    for (place, at) in PLACES {
        for class in LAYERS.split_whitespace() {
            members.insert("config.json".to_owned(), with_extra(&config, class, at).to_string().into_bytes());
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            for (name, content) in &members {
                // Compression takes most of the time.
                let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
                writer.start_file(name, stored).unwrap();
                writer.write_all(content).unwrap();
            }
            let bytes = writer.finish().unwrap().into_inner();
            let without_effect = WITHOUT_EFFECT.split_whitespace().any(|known| known == class)
                || matches!((place, class), ("pool" | "after", "Flatten") | ("inside", "ReLU"));
            match read_bytes(&bytes, "m.keras", &ReadOptions::default()) {
                Ok(imported) => {
                    assert!(without_effect, "{place}: {class} is imported");
                    assert!(imported.container.tensors == plain.container.tensors, "{place}: {class}");
                    assert_eq!(imported.recovered, plain.recovered, "{place}: {class}");
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(!without_effect, "{place}: {class}: {text}");
                    // Weights are numbered by class, so another layer of the class lacks them.
                    let lacks_weights = text.contains(&format!("({class}): the layer's weight `"));
                    assert!(text.contains("extra'") || lacks_weights, "{place}: {class}: {text}");
                }
            }
        }
    }
}

#[test]
fn additional_weights_are_refused_or_reported() {
    let fixture = |name: &str| fixture("heads/keras").join(name);
    let error = read(&fixture("extra_weight.keras"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("(Dense): the layer has an unknown weight '2'"), "{error}");
    let ignored = |name: &str| {
        let imported = read(&fixture(name), &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        imported.facts.into_iter().find(|fact| fact.key == "ignored").map(|fact| fact.how)
    };
    assert_eq!(ignored("optimizer.keras").unwrap(), "state of the optimizer: 36");
    assert_eq!(ignored("extra_group.keras").unwrap(), "of no layer: another");
    assert_eq!(ignored("caffe.h5"), None);
    assert_eq!(ignored("caffe.keras"), None);
}
