//! Further tensors, operations, layers and attributes are named in an error or have no effect.

use serde_json::{Value as Json, json};

use super::{MODELS, Model, same};

/// Changes without effect are made at every fourth place, because a whole import is slow.
const SAMPLE: usize = 4;

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
            // It is not the weight of a layer, whatever its name is.
            let mut named = model.clone();
            named.entries()[at]["name"] = "Conv1/bias".into();
            assert!(same(&named.read().unwrap(), &imported));
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

/// As in TensorFlow-Slim: the scores get the shape of the logits.
#[test]
fn reshapes_to_the_shape_of_a_value() {
    let reshaped = |of: &str| {
        let mut model = Model::of("graph");
        let last = model.nodes().iter().position(|node| node["op"] == "Identity").unwrap();
        let scores = model.nodes()[last]["input"][0].clone();
        let of = model.nodes().iter().find(|node| node["op"] == of).unwrap()["name"].clone();
        model.nodes()[last]["input"][0] = "reshape".into();
        model.nodes().push(json!({"name": "reshape", "op": "Reshape", "input": [scores, "shape"]}));
        model.nodes().push(json!({"name": "shape", "op": "Shape", "input": [of]}));
        model.read()
    };
    assert!(same(&reshaped("Softmax").unwrap(), &Model::of("graph").read().unwrap()));
    let error = reshaped("Mean").map(|imported| imported.facts).unwrap_err();
    assert!(error.contains("the reshape changes the channels"), "{error}");
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
