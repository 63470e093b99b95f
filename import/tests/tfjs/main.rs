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
use mbvc_compiler::spec::{Color, Preprocessing};
use mbvc_import::{Imported, ReadOptions, read, read_bytes};
use serde_json::{Value as Json, json};

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

/// A network for colors that reads three copies of a gray image.
#[test]
fn copies_of_a_gray_image_are_summed() {
    let read = |operator: &str, count: usize, last: &[i32], channels: &str| {
        let mut model = Model::of("graph_plain");
        let nodes = model.nodes();
        nodes[0]["attr"]["shape"]["shape"]["dim"][3]["size"] = channels.into();
        for node in nodes.iter_mut().filter(|node| node["input"][0] == "image") {
            node["input"][0] = "copies".into();
        }
        let mut inputs = vec!["image"; count];
        inputs.push("last");
        nodes.push(json!({"name": "last", "op": "Const"}));
        nodes.push(json!({"name": "copies", "op": operator, "input": inputs}));
        let shape: &[usize] = if last.len() == 1 { &[] } else { &[last.len()] };
        model.entries().push(json!({"name": "last", "shape": shape, "dtype": "int32"}));
        model.first_shard().extend(last.iter().flat_map(|number| number.to_le_bytes()));
        model.read()
    };
    let stem = |imported: &Imported| imported.container.tensor("stem.weight").unwrap().data.f32s().unwrap().to_vec();
    let colors = Model::of("graph_plain").read().unwrap();
    let outputs = colors.container.tensor("stem.weight").unwrap().shape[3];
    let of_tap =
        |tap: &[f32]| (0..outputs).map(|at| tap[at..].iter().step_by(outputs).sum::<f32>()).collect::<Vec<_>>();
    let summed: Vec<f32> = stem(&colors).chunks(3 * outputs).flat_map(of_tap).collect();
    for (operator, count, last) in [("ConcatV2", 3, &[3][..]), ("ConcatV2", 3, &[-1]), ("Tile", 1, &[1, 1, 1, 3])] {
        let gray = read(operator, count, last, "1").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(gray.spec().input, Color::Gray);
        assert!(stem(&gray).iter().zip(&summed).all(|(one, other)| (one - other).abs() < 1e-6), "{operator}");
    }
    for (operator, count, last, channels) in [
        ("ConcatV2", 3, &[2][..], "1"),
        ("ConcatV2", 2, &[3], "1"),
        ("ConcatV2", 3, &[3], "3"),
        ("Tile", 1, &[1, 2, 1, 3], "1"),
    ] {
        let error = read(operator, count, last, channels).map(|imported| imported.facts).unwrap_err();
        assert!(error.contains(&format!("node 'copies' ({operator})")), "{operator} {last:?}: {error}");
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
