//! TensorFlow.js models with changes: every tensor, operation and attribute is used, or an error names it.

#[path = "../common/mod.rs"]
mod common;
mod complete;
#[path = "../common/counting.rs"]
mod counting;
mod metadata;
mod rejections;

use std::fs;

use common::fixture;
use mbvc_compiler::spec::Preprocessing;
use mbvc_import::{Imported, ReadOptions, read, read_bytes};
use serde_json::Value as Json;

/// Models of each kind.
const MODELS: [&str; 9] = [
    "graph",
    "graph_float16",
    "graph_pixels",
    "graph_plain",
    "graph_uint16",
    "layers",
    "layers_leaky",
    "layers_uint8",
    "teachable_machine",
];

/// `model.json` and the files beside it.
#[derive(Clone)]
struct Model {
    json: Json,
    files: Vec<(String, Vec<u8>)>,
}

impl Model {
    fn of(name: &str) -> Self {
        let folder = fixture("heads/tfjs").join(name);
        let json = serde_json::from_slice(&fs::read(folder.join("model.json")).unwrap()).unwrap();
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files = names.filter(|name| name != "model.json").map(|name| {
            let content = fs::read(folder.join(&name)).unwrap();
            (name, content)
        });
        Self { json, files: files.collect() }
    }

    fn read_text(&self, text: &str) -> Result<Imported, String> {
        let beside: Vec<(&str, &[u8])> = self.files.iter().map(|(name, content)| (&**name, &**content)).collect();
        let options = ReadOptions { beside: &beside, ..ReadOptions::default() };
        read_bytes(text.as_bytes(), "model.json", &options).map_err(|error| error.to_string())
    }

    fn read(&self) -> Result<Imported, String> {
        self.read_text(&self.json.to_string())
    }

    fn error(&self) -> String {
        self.read().map(|imported| imported.facts).unwrap_err()
    }

    fn nodes(&mut self) -> &mut Vec<Json> {
        self.json["modelTopology"]["node"].as_array_mut().unwrap()
    }

    fn group(&mut self) -> &mut Json {
        &mut self.json["weightsManifest"][0]
    }

    fn entries(&mut self) -> &mut Vec<Json> {
        self.group()["weights"].as_array_mut().unwrap()
    }

    fn first_shard(&mut self) -> &mut Vec<u8> {
        let name = self.group()["paths"][0].as_str().unwrap().trim_start_matches("./").to_owned();
        &mut self.files.iter_mut().find(|(file, _)| *file == name).unwrap().1
    }
}

/// Whether both have the same weights and conventions.
fn same(one: &Imported, other: &Imported) -> bool {
    one.container == other.container && one.spec() == other.spec()
}

#[test]
fn files_in_memory_and_in_a_folder_are_equal() {
    for name in MODELS {
        let of_folder = read(&fixture("heads/tfjs").join(name).join("model.json"), &ReadOptions::default());
        match (of_folder, Model::of(name).read()) {
            (Ok(one), Ok(other)) => assert!(same(&one, &other), "{name}"),
            (Err(one), Err(other)) => {
                assert!(one.to_string().ends_with(other.trim_start_matches("model.json")), "{one}")
            }
            _ => panic!("{name}"),
        }
    }
}

/// Without arithmetic on the image, its type alone shows the range of the pixels.
#[test]
fn integer_inputs_are_pixels() {
    let read = |dtype: &str| {
        let mut model = Model::of("graph_plain");
        let input = model.nodes().iter_mut().find(|node| node["op"] == "Placeholder").unwrap();
        input["attr"]["dtype"]["type"] = serde_json::from_str(dtype).unwrap();
        model.read()
    };
    for dtype in ["\"DT_INT32\"", "\"DT_UINT8\"", "3"] {
        let imported = read(dtype).unwrap_or_else(|error| panic!("{error}"));
        let preprocessing = imported.recovered.preprocessing;
        assert_eq!(
            (preprocessing, imported.recovered.preprocessing_recorded),
            (Preprocessing::from_range(0.0, 255.0), true)
        );
    }
    assert!(!read("\"DT_FLOAT\"").unwrap().recovered.preprocessing_recorded);
    for dtype in ["\"DT_BOOL\"", "\"DT_INT8\"", "99", "null"] {
        let error = read(dtype).map(|imported| imported.facts).unwrap_err();
        assert!(error.contains("node 'image' (Placeholder)"), "{dtype}: {error}");
    }
}

#[test]
fn quantized_weights_are_noted() {
    for (name, expected) in [
        ("layers_uint8", "quantized to uint8; they are dequantized"),
        ("graph_uint16", "quantized to uint16; they are dequantized"),
        ("graph_float16", "stored as float16"),
    ] {
        let notes = Model::of(name).read().unwrap().notes;
        assert!(notes.iter().any(|note| note.contains(expected)), "{name}: {notes:?}");
    }
    assert_eq!(Model::of("layers").read().unwrap().notes, Vec::<String>::new());
}
