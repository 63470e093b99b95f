//! Keras: layers and networks that are called many times, and archives with a high compression ratio.

use std::io::{Cursor, Write as _};

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::rejection;

fn archive(config: &Value, weights: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("config.json", config.to_string().as_bytes()), ("model.weights.h5", weights)] {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The weights of a real file.
fn weights() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keras3_flat.h5");
    std::fs::read(path).unwrap()
}

fn network(layers: &[Value], output: &str) -> Value {
    let mut all = vec![json!({"class_name": "InputLayer", "name": "in", "config": {}, "inbound_nodes": []})];
    all.extend_from_slice(layers);
    json!({"class_name": "Functional", "config": {
        "name": "n", "layers": all, "input_layers": [["in", 0, 0]], "output_layers": [[output, 0, 0]],
    }})
}

/// A network is read at every call, with the configuration of all its layers.
#[test]
fn a_network_that_is_called_thousands_of_times() {
    let long = "X".repeat(1 << 20);
    let mut inner = network(&[json!({"class_name": long, "name": "l", "config": {}, "inbound_nodes": []})], "in");
    let calls: Vec<Value> = (0..250).map(|_| json!([["in", 0, 0, {}]])).collect();
    inner["name"] = "inner".into();
    inner["inbound_nodes"] = calls.into();
    let error = rejection(&archive(&network(&[inner], "inner"), &weights()), "m.keras");
    assert!(error.contains("too many nested models or calls of models"), "{error}");
}

#[test]
fn a_layer_that_is_called_thousands_of_times() {
    let calls: Vec<Value> = (0..5000).map(|_| json!([["in", 0, 0, {}]])).collect();
    let layer = json!({"class_name": "ReLU", "name": "r", "config": {}, "inbound_nodes": calls});
    let error = rejection(&archive(&network(&[layer], "r"), &weights()), "m.keras");
    assert!(error.contains("called 5000 times") && error.contains("at most 256"), "{error}");
}

/// Each layer precedes its input, so that the next one is found at the end of the list.
#[test]
fn layers_in_the_opposite_order() {
    let layer = |at: usize| {
        let before = if at == 0 { "in".to_owned() } else { format!("r{}", at - 1) };
        json!({"class_name": "ReLU", "name": format!("r{at}"), "config": {}, "inbound_nodes": [[[before, 0, 0, {}]]]})
    };
    let layers: Vec<Value> = (0..8000).rev().map(layer).collect();
    let error = rejection(&archive(&network(&layers, "r7999"), &weights()), "m.keras");
    assert!(error.contains("not in order of execution"), "{error}");
}

/// Many constants are inserted at their positions.
#[test]
fn an_operation_of_thousands_of_constants() {
    let constants: serde_json::Map<String, Value> = (0..100_000).map(|at| (format!("0{at}"), json!(1.0))).collect();
    let layer = json!({"class_name": "TensorFlowOpLayer", "name": "o",
                       "config": {"node_def": {"op": "Mul"}, "constants": constants},
                       "inbound_nodes": [[["in", 0, 0, {}]]]});
    let error = rejection(&archive(&network(&[layer], "o"), &weights()), "m.keras");
    assert!(error.contains("TensorFlowOpLayer, an operator not used by MobileNetV2"), "{error}");
}

/// The unpacked size of an archive is bounded by its size, because weights compress badly.
#[test]
fn an_archive_that_claims_a_gigabyte_of_weights() {
    let mut bytes = archive(&json!({}), &vec![7; 1 << 20]);
    // The size in the last record of the directory.
    let record = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    bytes[record + 24..record + 28].copy_from_slice(&0x4000_0000u32.to_le_bytes());
    let error = rejection(&bytes, "m.keras");
    assert!(error.contains("the size is 1073741824 bytes") && error.contains("at most 67108864"), "{error}");
}

/// A name of 64 KB is compared at each look-up of another attribute.
#[test]
fn an_object_that_has_one_long_attribute_many_times() {
    const ATTRIBUTE: u16 = 0x0c;
    const CONTINUATION: u16 = 0x10;
    const NAME: u16 = 65_000;
    let message = |kind: u16, content: &[u8]| {
        let size = u16::try_from(content.len()).unwrap();
        [&kind.to_le_bytes()[..], &size.to_le_bytes(), &[0; 4], content].concat()
    };
    // Superblock of version 2, and the object after it.
    let undefined = u64::MAX.to_le_bytes();
    let root = 48u64;
    let name = vec![b'a'; usize::from(NAME)];
    let attribute = [&[3, 0][..], &NAME.to_le_bytes(), &[0; 5], &name].concat();
    let attribute = message(ATTRIBUTE, &attribute);
    let size = attribute.len() + 8 + 16;
    let again = message(CONTINUATION, &[(root + 16).to_le_bytes(), (size as u64).to_le_bytes()].concat());
    let object =
        [&[1, 0, 0xff, 0xff, 1, 0, 0, 0][..], &(size as u32).to_le_bytes(), &[0; 4], &attribute, &again].concat();
    let end = (root as usize + object.len()) as u64;
    let superblock = [
        &b"\x89HDF\r\n\x1a\n\x02\x08\x08\0"[..],
        &[0; 8],
        &undefined,
        &end.to_le_bytes(),
        &root.to_le_bytes(),
        &[0; 4],
    ];
    let error = rejection(&[superblock.concat(), object].concat(), "m.h5");
    assert!(error.contains("without a Keras model"), "{error}");
}
