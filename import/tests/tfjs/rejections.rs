//! Invalid files, and files that request much memory.

use std::fs;
use std::path::Path;

use mbvc_import::{ReadOptions, read, read_bytes};
use serde_json::{Value as Json, json};

use super::common::fixture;
use super::counting::assert_little_memory;
use super::{Model, same};

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
