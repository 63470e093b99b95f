//! TensorFlow.js models with changes: every tensor, operation and attribute is used, or an error names it.

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::fs;
use std::path::Path;

use common::fixture;
use counting::assert_little_memory;
use mbvc_import::{Imported, Labels, ReadOptions, read, read_bytes};
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

/// Changes without effect are made at every fourth place, because a whole import is slow.
const SAMPLE: usize = 4;

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

/// Bytes of the tensors before entry `at` of the manifest.
fn offset(entries: &[Json], at: usize) -> usize {
    let size = |entry: &Json| {
        let elements: u64 = entry["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).product();
        let stored = entry["quantization"]["dtype"].as_str().or_else(|| entry["dtype"].as_str()).unwrap();
        elements as usize
            * [("uint8", 1), ("uint16", 2), ("float16", 2)]
                .iter()
                .find(|(name, _)| *name == stored)
                .map_or(4, |found| found.1)
    };
    entries[..at].iter().map(size).sum()
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

#[test]
fn every_further_tensor_is_named_or_known() {
    for name in MODELS.into_iter().filter(|name| *name != "layers" && *name != "layers_leaky") {
        let plain = Model::of(name);
        let imported = plain.read().unwrap();
        let count = plain.clone().entries().len();
        for at in 0..=count {
            let mut model = plain.clone();
            let start = offset(model.entries(), at);
            model.entries().insert(at, json!({"name": "extra/weight", "shape": [2], "dtype": "float32"}));
            model.first_shard().splice(start..start, [0; 8]);
            let error = model.error();
            assert!(
                error.contains("tensor 'extra/weight': no known operation uses the tensor"),
                "{name} {at}: {error}"
            );
            if at % SAMPLE != 0 {
                continue;
            }
            // The state of an optimizer, and integers.
            model.entries()[at]["group"] = "optimizer".into();
            let with_state = model.read().unwrap_or_else(|error| panic!("{name} {at}: {error}"));
            assert!(same(&with_state, &imported));
            assert!(with_state.notes.iter().any(|note| note.contains("of the optimizer are ignored")));
            model.entries()[at] = json!({"name": "seed", "shape": [2], "dtype": "int32"});
            assert!(same(&model.read().unwrap(), &imported));
        }
    }
}

#[test]
fn every_missing_tensor_is_an_error() {
    for name in ["graph", "graph_plain", "layers_uint8", "teachable_machine"] {
        let plain = Model::of(name);
        for at in 0..plain.clone().entries().len() {
            let mut model = plain.clone();
            let [start, end] = [at, at + 1].map(|at| offset(model.entries(), at));
            let entry = model.entries().remove(at);
            model.first_shard().drain(start..end);
            // The sizes of a reshape are computed from the number of images.
            let may_be_absent = entry["name"].as_str().unwrap().contains("strided_slice");
            match model.read() {
                Err(error) => assert!(
                    error.contains("has no tensor of this name") || error.contains("is missing"),
                    "{name}: {error}"
                ),
                Ok(_) => assert!(may_be_absent, "{name}: {entry}"),
            }
        }
    }
}

/// Inserts a node after node `at`, before all of its readers.
fn insert(model: &mut Model, at: usize, mut node: Json) {
    let name = model.nodes()[at]["name"].as_str().unwrap().to_owned();
    for reader in model.nodes() {
        for input in reader.get_mut("input").and_then(Json::as_array_mut).into_iter().flatten() {
            if input.as_str() == Some(&name) {
                *input = "extra".into();
            }
        }
    }
    if let Some(outputs) = model.json["signature"]["outputs"].as_object_mut() {
        for output in outputs.values_mut().filter(|output| output["name"] == format!("{name}:0")) {
            output["name"] = "extra:0".into();
        }
    }
    node["name"] = "extra".into();
    node["input"] = json!([name]);
    model.nodes().insert(at + 1, node);
}

#[test]
fn every_further_operation_is_named_or_known() {
    for name in ["graph", "graph_pixels", "graph_plain"] {
        let plain = Model::of(name);
        let imported = plain.read().unwrap();
        for at in 0..plain.clone().nodes().len() {
            let node = &plain.json["modelTopology"]["node"][at];
            if node["op"] == "NoOp" {
                continue;
            }
            let mut model = plain.clone();
            insert(&mut model, at, json!({"op": "Elu"}));
            // Of the sizes of a reshape, only constants are known.
            let is_size = ["shape/", "strided_slice", "Reshape/shape", "Shape"]
                .iter()
                .any(|part| node.to_string().contains(part));
            match model.read() {
                Err(error) => {
                    assert!(
                        error.contains("'extra' (Elu)")
                            || error.contains("no activation, but Elu")
                            || error.contains("computed by the graph")
                            || is_size,
                        "{name} {node}: {error}"
                    );
                }
                Ok(other) => assert!(is_size && same(&other, &imported), "{name}: {node}"),
            }
            if at % SAMPLE != 0 {
                continue;
            }
            let mut model = plain.clone();
            insert(&mut model, at, json!({"op": "Identity", "attr": {"T": {"type": "DT_FLOAT"}}}));
            let other = model.read().unwrap_or_else(|error| panic!("{name} {node}: {error}"));
            assert!(same(&other, &imported), "{name}: {node}");
            // A node beside the way to the output.
            let mut model = plain.clone();
            let input = node["name"].clone();
            model.nodes().push(json!({"name": "aside", "op": "Relu", "input": [input]}));
            assert!(
                model.error().contains("'aside' (Relu): the node has no effect on the output"),
                "{}",
                model.error()
            );
        }
    }
}

#[test]
fn attributes_are_used_or_known() {
    for name in ["graph", "graph_plain"] {
        let plain = Model::of(name);
        let imported = plain.read().unwrap();
        let (mut refused, mut defaults) = (0, 0);
        for at in 0..plain.clone().nodes().len() {
            let node = plain.json["modelTopology"]["node"][at].clone();
            if name == "graph_plain" && at % SAMPLE != 0 {
                continue;
            }
            for key in node["attr"].as_object().into_iter().flat_map(|attributes| attributes.keys()) {
                let mut model = plain.clone();
                model.nodes()[at]["attr"].as_object_mut().unwrap().remove(key);
                match model.read() {
                    Err(_) => refused += 1,
                    // The shape of the input.
                    Ok(_) if node["op"] == "Placeholder" => {}
                    Ok(other) => {
                        assert!(same(&other, &imported), "{name} {key}: {node}");
                        defaults += 1;
                    }
                }
            }
            // Operators over constants and shapes, whose results are checked where they are used.
            const UNCHECKED: [&str; 7] = ["Const", "NoOp", "Placeholder", "Identity", "Shape", "StridedSlice", "Pack"];
            if !UNCHECKED.contains(&node["op"].as_str().unwrap()) {
                let mut model = plain.clone();
                model.nodes()[at]["attr"]["beta"] = json!({"f": 2.0});
                assert!(model.error().contains("unknown attribute 'beta'"), "{node}: {}", model.error());
            }
        }
        assert!(refused >= 5 && defaults > 10, "{refused} refused, {defaults} equal");
    }
}

/// The lists of layers of a model and of those in it.
fn networks(config: &Json, path: &str, found: &mut Vec<String>) {
    let layers = format!("{path}/config/layers");
    if let Some(Json::Array(members)) = config.pointer(&layers) {
        for at in 0..members.len() {
            networks(config, &format!("{layers}/{at}"), found);
        }
        found.push(layers);
    }
}

#[test]
fn every_further_layer_is_named_or_known() {
    for (name, root) in [("teachable_machine", ""), ("layers_uint8", "/model_config"), ("layers", "")] {
        let plain = Model::of(name);
        let imported = plain.read().unwrap();
        let mut lists = Vec::new();
        networks(&plain.json["modelTopology"], root, &mut lists);
        assert!(lists.len() > usize::from(name != "layers"), "{name}: {lists:?}");
        let mut count = 0;
        for list in lists {
            let members = plain.json["modelTopology"].pointer(&list).unwrap().as_array().unwrap().len();
            for at in 0..members {
                let with = |class: &str, config: Json| {
                    let mut model = plain.clone();
                    let layers = model.json["modelTopology"].pointer_mut(&list).unwrap().as_array_mut().unwrap();
                    let mut layer = json!({"class_name": class, "name": "extra", "config": config});
                    layer["config"]["name"] = "extra".into();
                    // In a functional model, the layers that read this one read the new layer.
                    if layers
                        .iter()
                        .any(|layer| layer["inbound_nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()))
                    {
                        let before = layers[at]["name"].clone();
                        for reader in layers.iter_mut() {
                            let calls = reader["inbound_nodes"].as_array_mut().into_iter().flatten();
                            for input in
                                calls.flat_map(|call| call.as_array_mut().unwrap()).filter(|input| input[0] == before)
                            {
                                input[0] = "extra".into();
                            }
                        }
                        layer["inbound_nodes"] = json!([[[before, 0, 0, {}]]]);
                        let network = list.strip_suffix("/layers").unwrap();
                        let outputs = model.json["modelTopology"].pointer_mut(network).unwrap();
                        for output in outputs["output_layers"].as_array_mut().unwrap() {
                            if output[0] == before {
                                output[0] = "extra".into();
                            }
                        }
                    }
                    let layers = model.json["modelTopology"].pointer_mut(&list).unwrap().as_array_mut().unwrap();
                    layers.insert(at + 1, layer);
                    model.read()
                };
                let error = with("UpSampling2D", json!({"size": [1, 1]})).map(|imported| imported.facts).unwrap_err();
                assert!(error.contains("UpSampling2D"), "{name} {list} {at}: {error}");
                let other =
                    with("Dropout", json!({"rate": 0.5})).unwrap_or_else(|error| panic!("{name} {list} {at}: {error}"));
                assert!(same(&other, &imported), "{name} {list} {at}");
                count += 1;
            }
        }
        assert!(count > 15, "{name}: {count} places");
    }
}

#[test]
fn invalid_files_name_the_reason() {
    let change = |change: &dyn Fn(&mut Model), expected: &str| {
        let mut model = Model::of("graph");
        change(&mut model);
        let error = model.error();
        assert!(error.starts_with("model.json: ") && error.contains(expected), "expected {expected}: {error}");
    };
    change(
        &|model| model.files[0].0 = "other.bin".into(),
        "cannot read 'group1-shard1of1.bin' (shard of weights): no such file",
    );
    change(&|model| model.first_shard().truncate(100), "the shard 'group1-shard1of1.bin' is too small");
    change(&|model| model.first_shard().push(0), "the shard 'group1-shard1of1.bin' is too large");
    for place in ["../weights.bin", "/etc/passwd", "a/../../weights.bin", ""] {
        change(&|model| model.group()["paths"][0] = place.into(), "the file is outside the model's folder");
    }
    change(&|model| model.json["weightSpecs"] = json!([]), "unknown entry 'weightSpecs' of model.json");
    change(&|model| model.json["modelInitializer"] = json!({"node": []}), "a graph that initializes it");
    change(&|model| model.json["format"] = "tflite".into(), "unknown format 'tflite'");
    change(&|model| model.json["format"] = "layers-model".into(), "has no `class_name`");
    change(&|model| model.json["modelTopology"] = Json::Null, "no model (`modelTopology`)");
    change(&|model| model.json["modelTopology"]["node"] = json!([]), "the graph has 0 nodes");
    change(&|model| model.json["modelTopology"]["library"] = json!({"function": [{}]}), "calls functions");
    change(
        &|model| drop(model.json.as_object_mut().unwrap().remove("weightsManifest")),
        "no weights (`weightsManifest`)",
    );
    change(
        &|model| model.json["signature"]["outputs"]["other"] = json!({"name": "image:0"}),
        "the model has 2 outputs",
    );
    change(
        &|model| model.json["signature"]["outputs"]["dense_1"]["name"] = "absent:0".into(),
        "the node 'absent' does not exist",
    );
    change(
        &|model| model.json["signature"]["outputs"]["dense_1"]["name"] = "Identity:1".into(),
        "not the first result",
    );
    let add = |node: Json| move |model: &mut Model| model.nodes().push(node.clone());
    change(&add(json!({"name": "second", "op": "Placeholder"})), "exactly one input");
    change(&add(json!({"name": "image", "op": "NoOp"})), "the name 'image' is assigned twice");
    change(&add(json!({"op": "NoOp"})), "no `name` or no `op`");
    let rewire = |model: &mut Model, operator: &str, input: &str| {
        let node = model.nodes().iter_mut().find(|node| node["op"] == operator).unwrap();
        node["input"][0] = input.into();
    };
    change(&|model| rewire(model, "Mean", "Identity"), "the graph has a cycle");
    change(&|model| rewire(model, "Mean", "absent"), "the node 'absent' does not exist");
    change(
        &|model| rewire(model, "Softmax", "StatefulPartitionedCall/model/dense_1/BiasAdd:1"),
        "output 1 of another node",
    );
    // Without a signature, the output is the node that no other one reads.
    let mut model = Model::of("graph");
    model.json.as_object_mut().unwrap().remove("signature");
    assert!(same(&model.read().unwrap(), &Model::of("graph").read().unwrap()));
    model.json["userDefinedMetadata"] = json!({"signature": Model::of("graph").json["signature"]});
    assert!(same(&model.read().unwrap(), &Model::of("graph").read().unwrap()));
    // Keras 3.
    let mut model = Model::of("layers");
    model.entries()[0]["name"] = "layers/conv2d/vars/0".into();
    assert!(model.error().contains("the names of Keras 3"), "{}", model.error());
    // A model in memory has no folder.
    let error = read_bytes(model.json.to_string().as_bytes(), "model.json", &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("pass the path of model.json"), "{error}");
}

#[test]
fn reshapes_keep_the_classes_together() {
    let reshaped = |sizes: &[i32]| {
        let mut model = Model::of("graph");
        let softmax = model.nodes().iter().position(|node| node["op"] == "Softmax").unwrap();
        let logits = model.nodes()[softmax]["input"][0].clone();
        model.nodes()[softmax]["input"][0] = "reshape".into();
        model.nodes().push(json!({"name": "reshape", "op": "Reshape", "input": [logits, "sizes"]}));
        model.nodes().push(json!({"name": "sizes", "op": "Const"}));
        model.entries().push(json!({"name": "sizes", "shape": [sizes.len()], "dtype": "int32"}));
        let bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        model.first_shard().extend(bytes);
        model.read()
    };
    for sizes in [&[-1, 3][..], &[3], &[-1], &[1, -1], &[1, 1, 3], &[-1, 1, 1, 3]] {
        assert!(same(&reshaped(sizes).unwrap(), &Model::of("graph").read().unwrap()), "{sizes:?}");
    }
    for sizes in [&[-1, 1][..], &[3, 1], &[3, -1], &[-1, 3, 1], &[-1, 2], &[]] {
        let error = reshaped(sizes).map(|imported| imported.facts).unwrap_err();
        assert!(error.contains("'reshape' (Reshape): the reshape changes the channels"), "{sizes:?}: {error}");
    }
}

#[test]
fn reshapes_of_layers_keep_the_classes_together() {
    let reshaped = |sizes: &Json| {
        let mut model = Model::of("teachable_machine");
        let layers = model.json["modelTopology"]["config"]["layers"].as_array_mut().unwrap();
        layers.push(json!({"class_name": "Reshape", "config": {"name": "reshape", "target_shape": sizes}}));
        model.read()
    };
    for sizes in [json!([3]), json!([-1]), json!([1, 3]), json!([1, 1, -1]), json!([-1, 3])] {
        assert!(same(&reshaped(&sizes).unwrap(), &Model::of("teachable_machine").read().unwrap()), "{sizes}");
    }
    for sizes in [json!([3, 1]), json!([3, -1]), json!([-1, 1]), json!([1.5]), json!(null), json!([])] {
        let error = reshaped(&sizes).map(|imported| imported.facts).unwrap_err();
        assert!(error.contains("node 'reshape' (Reshape)"), "{sizes}: {error}");
    }
}

#[test]
fn metadata_of_teachable_machine_is_used() {
    let plain = Model::of("teachable_machine");
    let mut imported = plain.read().unwrap();
    let metadata = |imported: &Imported, key: &str| imported.container.metadata.get(key).cloned();
    assert_eq!(metadata(&imported, "mbvc.labels").as_deref(), Some("Flask\nCup\nNothing"));
    let scale = (1.0f32 / 127.0).to_string();
    assert_eq!(
        metadata(&imported, "mbvc.preprocessing").unwrap(),
        format!("scale {scale} {scale} {scale} offset -1 -1 -1")
    );
    assert_eq!(metadata(&imported, "mbvc.framing").as_deref(), Some("crop 32/32 bilinear"));
    for (key, how) in
        [("labels", "metadata.json"), ("preprocessing", "divides pixels by 127"), ("framing", "center square")]
    {
        let fact = imported.facts.iter().find(|fact| fact.key == key).unwrap();
        assert!(fact.how.contains(how), "{fact:?}");
    }
    imported.set_labels(&Labels::parse(b"a\nb\nc\n", "labels.txt").unwrap()).unwrap();
    assert_eq!(metadata(&imported, "mbvc.labels").as_deref(), Some("a\nb\nc"));

    let with = |from: &str, to: &str| {
        let mut model = plain.clone();
        let (_, file) = model.files.iter_mut().find(|(name, _)| name == "metadata.json").unwrap();
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        *file = text.replace(from, to).into_bytes();
        model.read()
    };
    let note = |from: &str, to: &str| {
        let imported = with(from, to).unwrap();
        assert_eq!(metadata(&imported, "mbvc.labels"), None);
        imported.notes.join("\n")
    };
    assert!(note("Cup", "").contains("metadata.json is ignored: a label is empty"));
    assert!(note("{", "[").contains("metadata.json is ignored"));
    assert!(
        note("teachablemachine/image", "teachablemachine/pose")
            .contains("metadata.json is ignored: it is of the package")
    );
    assert!(note(",\"Nothing\"", "").contains("metadata.json has 2 labels for 3 classes"));
    let error = |from: &str, to: &str| with(from, to).map(|imported| imported.facts).unwrap_err();
    assert!(error("\"imageSize\":32", "\"imageSize\":64").contains("the size of the images differs from the input"));
    assert!(error("\"imageSize\":32", "\"imageSize\":32,\"grayscale\":true").contains("gray images"));
    // A model that scales its input is not of Teachable Machine.
    let mut pixels = Model::of("graph_pixels");
    let text = r#"{"packageName": "@teachablemachine/image", "labels": ["a", "b"], "imageSize": 32}"#;
    pixels.files.push(("metadata.json".into(), text.into()));
    pixels.json["modelTopology"]["node"].as_array_mut().unwrap().iter_mut().for_each(|node| {
        if node["op"] == "Placeholder" {
            node["attr"]["shape"]["shape"]["dim"][2]["size"] = "32".into();
        }
    });
    assert!(
        pixels.error().contains("the model preprocesses images, and Teachable Machine does, too"),
        "{}",
        pixels.error()
    );
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

/// Nesting is bounded by the JSON parser, and sizes by the files.
#[test]
fn small_files_take_little_memory() {
    let model = Model::of("graph");
    let deep =
        format!(r#"{{"modelTopology": {}1{}, "weightsManifest": []}}"#, "[".repeat(1 << 18), "]".repeat(1 << 18));
    assert!(model.read_text(&deep).map(|imported| imported.facts).unwrap_err().contains("recursion limit"));
    let long = format!(r#"{{"modelTopology": {{"a": "{}"}}}}"#, "x".repeat(2 << 20));
    assert!(model.read_text(&long).map(|imported| imported.facts).unwrap_err().contains("the configuration has"));
    let mut shapes = model.clone();
    shapes.entries()[0]["shape"] = json!([1 << 30, 1 << 30]);
    assert!(shapes.error().contains("is too small"), "{}", shapes.error());
    let mut entries = model.clone();
    let entry = json!({"name": "a", "shape": [0], "dtype": "float32"});
    *entries.entries() = vec![entry; 10_000];
    assert!(entries.error().contains("10000 tensors"), "{}", entries.error());
    // A chain of nodes in the opposite order, and nodes with many inputs.
    let mut chain = model.clone();
    let node = |at: usize| json!({"name": format!("n{at}"), "op": "Identity", "input": [format!("n{}", at + 1)]});
    *chain.nodes() = (0..8000).map(node).collect();
    chain.nodes().push(json!({"name": "n8000", "op": "Placeholder"}));
    chain.json.as_object_mut().unwrap().remove("signature");
    chain.json["weightsManifest"] = json!([]);
    assert!(chain.error().contains("the network ends before this layer"), "{}", chain.error());
    let mut many = model.clone();
    many.nodes().push(json!({"name": "m", "op": "AddN", "input": vec!["image"; 1 << 16]}));
    many.json["signature"]["outputs"]["dense_1"]["name"] = "m".into();
    assert!(many.error().contains("too many inputs"), "{}", many.error());
    assert_little_memory();
}

#[cfg(unix)]
#[test]
fn shards_are_regular_files_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    let inner = folder.path().join("model");
    fs::create_dir(&inner).unwrap();
    copy(&fixture("heads/tfjs/graph"), &inner);
    let model = inner.join("model.json");
    read(&model, &ReadOptions::default()).unwrap();
    let shard = inner.join("group1-shard1of1.bin");
    let outside = folder.path().join("secret");
    fs::rename(&shard, &outside).unwrap();
    for target in [outside.as_path(), Path::new("/dev/zero")] {
        std::os::unix::fs::symlink(target, &shard).unwrap();
        let error = read(&model, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("the file is outside the model's folder"), "{error}");
        fs::remove_file(&shard).unwrap();
    }
    fs::create_dir(&shard).unwrap();
    let error = read(&model, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("'group1-shard1of1.bin' (shard of weights): a directory"), "{error}");
}
