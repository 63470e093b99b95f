//! `verify`, with ONNX Runtime and LiteRT if Python has them.

mod common;
#[path = "../../tests/common/python.rs"]
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{bad, good, json_lines, mbvc, picture, shared, tiny};
use mbvc_import::{Container, Data};
use python::{has, python};
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/fixtures");

const ONNX: &str = "numpy, onnxruntime";
const TFLITE: &str = "numpy, ai_edge_litert";

/// A folder with a fixture's weights and spec, `w.safetensors` and `w.yaml`, and three pictures in `photos`.
fn imported(fixture: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let model = format!("{FIXTURES}/{fixture}");
    good(folder.path(), &["import", &model, "--output", "w.safetensors", "--write-spec", "w.yaml"]);
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    for seed in 1..4 {
        picture(&folder.path().join(format!("photos/{seed}.png")), seed * 77);
    }
    (folder, model)
}

fn verify<'a>(model: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    [&["verify", "--weights", "w.safetensors", "--against", model, "--images", "photos"], further].concat()
}

/// Adds to one bias of a layer.
fn corrupt(folder: &Path, layer: &str, channel: usize, float: f32, steps: i32) {
    let path = folder.join("w.safetensors");
    let mut container = Container::open(&path).unwrap();
    let name = format!("{layer}.bias");
    let bias = container.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
    match &mut bias.data {
        Data::F32(bias) => bias[channel] += float,
        Data::I32(bias) => bias[channel] += steps,
        other => panic!("{other:?}"),
    }
    std::fs::write(&path, container.to_bytes()).unwrap();
}

fn agrees(fixture: &str, values: usize) -> Value {
    let (folder, model) = imported(fixture);
    let report = json_lines(&good(folder.path(), &verify(&model, &["--json"]))).remove(0);
    assert_eq!((&report["agree"], &report["images"], &report["skipped"]), (&true.into(), &3.into(), &0.into()));
    assert_eq!(report["top1"], serde_json::json!({"agree": 3, "of": 3}), "{fixture}");
    assert_eq!(report["layers"]["first_difference"], Value::Null, "{fixture}");
    let compared = report["layers"]["values"].as_array().unwrap();
    assert_eq!((compared.len(), &report["layers"]["images"]), (values, &3.into()), "{fixture}");
    // The text of the same report.
    let said = good(folder.path(), &verify(&model, &[]));
    assert!(said.contains("top-1 3 of 3") && said.contains("on 3 images"), "{said}");
    assert!(said.contains(report["engine"]["name"].as_str().unwrap()), "{said}");
    report
}

/// 12 layers up to the last projection, 8 activations, 2 adds; the head and its activation; pool and classifier.
const FLOATS: usize = 12 + 8 + 2 + 2 + 2;

#[test]
fn float_models_agree_layer_by_layer_whatever_their_layout() {
    if has(ONNX) {
        for fixture in ["same_plain_op13.onnx", "same_tensorflow_op13.onnx"] {
            let report = agrees(fixture, FLOATS);
            let relative = report["logits"]["relative"].as_f64().unwrap();
            assert!(relative < 1e-5, "{fixture}: {relative}");
            assert_eq!((&report["engine"]["name"], &report["tolerance"]), (&"ONNX Runtime".into(), &1e-4.into()));
        }
    }
    if has(TFLITE) {
        // A fused activation has no input tensor; the other file has NCHW images and fuses nothing.
        agrees("same_fused.tflite", FLOATS - 9);
        let report = agrees("same_explicit.tflite", FLOATS);
        assert_eq!(report["engine"]["name"], "LiteRT");
        assert!(report["logits"]["largest_difference"].as_f64().unwrap() < 1e-4, "{report}");
    }
}

#[test]
fn quantized_models_are_bit_exact_with_litert() {
    if !has(TFLITE) {
        return;
    }
    for (fixture, values) in [("same_int8.tflite", FLOATS - 9), ("converted_int8.tflite", 30)] {
        let report = agrees(fixture, values);
        let logits = &report["logits"];
        assert_eq!(
            (&logits["largest_difference"], &logits["mean_difference"]),
            (&0.0.into(), &0.0.into()),
            "{fixture}"
        );
        assert!(logits["step"].as_f64().unwrap() > 0.0);
        assert_eq!((&report["network"]["precision"], &report["tolerance"]), (&"int8".into(), &0.0.into()));
        let values = report["layers"]["values"].as_array().unwrap();
        assert!(values.iter().all(|value| value["differing"] == 0 && value["difference"] == 0.0), "{report}");
    }
}

/// A changed bias is found with its layer, line, tensor and channel.
#[test]
fn the_first_layer_that_differs_is_named() {
    let cases: [(&str, &str, &str, usize, &str); 4] = [
        ("same_plain_op13.onnx", ONNX, "block3.expand", 5, "block3.expand.conv"),
        ("same_plain_op13.onnx", ONNX, "block2.project", 3, "block2.project.conv"),
        ("same_fused.tflite", TFLITE, "block4.depthwise", 12, "block4.depthwise"),
        ("same_int8.tflite", TFLITE, "block3.project", 2, "block3.project"),
    ];
    for (fixture, packages, layer, channel, tensor) in cases {
        if !has(packages) {
            continue;
        }
        let (folder, model) = imported(fixture);
        corrupt(folder.path(), layer, channel, 0.75, 2000);
        let arguments = verify(&model, &["--spec", "w.yaml", "--json"]);
        let (out, said) = bad(folder.path(), &arguments, 3);
        assert_eq!(said, "", "the report is enough");
        let report = &json_lines(&out)[0];
        assert_eq!(report["agree"], false, "{fixture}");
        let first = &report["layers"]["first_difference"];
        assert_eq!((&first["layer"], &first["tensor"]), (&layer.into(), &tensor.into()), "{fixture}: {first}");
        assert_eq!((&first["channels"], &first["at"][2]), (&serde_json::json!([channel]), &channel.into()), "{first}");
        let (ours, theirs) = (first["ours"].as_f64().unwrap(), first["theirs"].as_f64().unwrap());
        assert!(ours != theirs && first["difference"] == (ours - theirs).abs(), "{first}");
        // The line of the row of the block.
        let text = std::fs::read_to_string(folder.path().join("w.yaml")).unwrap();
        let line = text.lines().nth(first["line"].as_u64().unwrap() as usize - 1).unwrap();
        let row = if layer.starts_with("block4") { "t: 3, c: 16" } else { "t: 2, c: 8" };
        assert!(line.contains(row), "{line}");
        assert_eq!(first["spec"], "w.yaml");

        let (said, _) = bad(folder.path(), &verify(&model, &["--spec", "w.yaml"]), 3);
        assert!(said.contains(&format!("first layer that differs: {layer}")), "{said}");
        let line = format!("w.yaml:{}", first["line"]);
        assert!(said.contains(&line) && said.contains(&format!("'{tensor}' of ")), "{said}");
        assert!(said.contains("photos/") && said.contains("different"), "{said}");
    }
}

/// With swapped channels the stem differs first.
#[test]
#[ignore = "runs Python many times"]
fn channels_may_be_bgr() {
    if !has(ONNX) {
        return;
    }
    let (folder, model) = imported("same_plain_op13.onnx");
    good(folder.path(), &["import", &model, "--output", "w.safetensors", "--bgr", "--force"]);
    good(folder.path(), &verify(&model, &["--bgr"]));
    let (out, _) = bad(folder.path(), &verify(&model, &["--json"]), 3);
    assert_eq!(json_lines(&out)[0]["layers"]["first_difference"]["layer"], "stem");
}

/// The spec selects the rounding, and LiteRT has both.
#[test]
fn reference_kernels_are_compared_with_reference_kernels() {
    if !has(TFLITE) {
        return;
    }
    let (folder, model) = imported("converted_int8.tflite");
    let path = folder.path().join("w.yaml");
    let spec = std::fs::read_to_string(&path).unwrap() + "rounding: tflite-reference\n";
    std::fs::write(path, spec).unwrap();
    let report = json_lines(&good(folder.path(), &verify(&model, &["--spec", "w.yaml", "--json"]))).remove(0);
    assert_eq!((&report["agree"], &report["logits"]["largest_difference"]), (&true.into(), &0.0.into()));
}

#[test]
fn the_tolerance_is_an_option() {
    if !has(ONNX) {
        return;
    }
    let (folder, model) = imported("same_plain_op13.onnx");
    corrupt(folder.path(), "classifier", 1, 0.01, 0);
    let (said, _) = bad(folder.path(), &verify(&model, &["--layers", "0"]), 3);
    assert!(said.contains("not compared") && !said.contains("first layer"), "{said}");
    let report = &json_lines(&good(folder.path(), &verify(&model, &["--json", "--tolerance", "0.5"])))[0];
    let off = report["logits"]["largest_difference"].as_f64().unwrap();
    assert!((off - 0.01).abs() < 1e-4, "{report}");
    assert_eq!((&report["logits"]["worst"]["class"], &report["tolerance"]), (&1.into(), &0.5.into()));
    let (_, said) = bad(folder.path(), &verify(&model, &["--tolerance", "-1"]), 2);
    assert!(said.contains("expected a number of at least 0"), "{said}");
}

/// The keys are an interface of scripts.
#[test]
fn the_report_has_its_keys() {
    if !has(ONNX) {
        return;
    }
    let (folder, model) = imported("same_plain_op13.onnx");
    std::fs::write(folder.path().join("photos/broken.jpg"), "no picture").unwrap();
    let (out, said) = bad(folder.path(), &verify(&model, &["--json"]), 1);
    assert!(said.contains("broken.jpg") && said.contains("one image of 4 could not be read"), "{said}");
    let report = &json_lines(&out)[0];
    let keys = |value: &Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys(report), "agree engine images layers logits model network skipped tolerance top1 weights",);
    assert_eq!(keys(&report["logits"]), "differing_images largest_difference mean_difference relative worst");
    assert_eq!(keys(&report["logits"]["worst"]), "class difference image ours theirs");
    assert_eq!(keys(&report["network"]), "fusion isa name numerics precision resolution spec");
    assert_eq!(keys(&report["layers"]), "first_difference images values");
    assert_eq!(keys(&report["layers"]["values"][0]), "difference differing image node relative tensor");
    assert_eq!((&report["agree"], &report["skipped"], &report["model"]), (&true.into(), &1.into(), &model.into()));
}

#[test]
fn differences_to_other_networks_are_listed_by_layer() {
    let model = format!("{FIXTURES}/same_plain_op13.onnx");
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let verify = |weights: &'static str, model: &str, further: &[&str]| {
        let arguments = ["verify", "--weights", weights, "--against", model, "--images", "a.png"];
        bad(folder.path(), &[&arguments[..], further].concat(), 1).1
    };
    let said = verify("tiny.safetensors", &model, &["--spec", "tiny.yaml"]);
    assert!(said.contains("same_plain_op13.onnx is not the network of tiny.safetensors"), "{said}");
    assert!(said.contains("classes: expected 10, found 5") && said.contains(" more"), "{said}");
    // Without a spec, that of the model is used.
    let said = verify("tiny.safetensors", &model, &[]);
    assert!(
        said.contains("tiny.safetensors does not fit the spec of ") && said.contains("classes: expected 5, found 10"),
        "{said}"
    );
    let said = verify("tiny.safetensors", &format!("{FIXTURES}/same_int8.tflite"), &[]);
    assert!(said.contains("tiny.safetensors has precision f32, ") && said.contains("has int8"), "{said}");
    let said = verify("tiny.safetensors", &format!("{FIXTURES}/keras2_sequential.keras"), &[]);
    assert!(said.contains("expected an ONNX or TFLite model"), "{said}");
    let said = verify("tiny.safetensors", &format!("{FIXTURES}/heads/tfjs/graph/model.json"), &[]);
    assert!(said.contains("is TensorFlow.js, expected an ONNX or TFLite model") && said.contains("tf2onnx"), "{said}");
    let said = verify("absent.safetensors", &model, &[]);
    assert!(said.contains("absent.safetensors") && said.contains("mbvc import"), "{said}");
    let said = verify("tiny.safetensors", "absent.onnx", &[]);
    assert!(said.contains("absent.onnx: no such file"), "{said}");

    let (folder, model) = imported("same_plain_op13.onnx");
    let (_, said) = bad(folder.path(), &self::verify(&model, &["--spec", "w.yaml", "--resolution", "48x64"]), 1);
    assert!(
        said.contains("has an input of 32x32, but the network has one of 48x64") && said.contains("--resolution 32x32"),
        "{said}"
    );
}

#[test]
fn a_missing_python_has_a_remedy() {
    for (fixture, packages) in
        [("same_plain_op13.onnx", "numpy onnxruntime"), ("same_fused.tflite", "numpy ai-edge-litert")]
    {
        let (folder, model) = imported(fixture);
        let (_, said) = bad(folder.path(), &verify(&model, &["--python", "no-such-python"]), 1);
        assert!(said.contains("requires Python, but `no-such-python` was not found"), "{said}");
        assert!(said.contains(&format!("python3 -m pip install {packages}")), "{said}");
        let output = mbvc(folder.path(), &verify(&model, &[])).env("MBVC_PYTHON", "./other-python").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("`./other-python` was not found") && said.contains("MBVC_PYTHON"), "{said}");
    }
}

/// A folder with an executable `python3` that is this shell script.
#[cfg(unix)]
fn python_of(script: &str) -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("python3");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

/// A Python without packages on the path.
#[cfg(unix)]
#[test]
fn missing_packages_have_a_remedy() {
    // Any Python suffices.
    if !has("sys") {
        return;
    }
    let printed = Command::new(python()).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let (path, _) = python_of(&format!("exec {} -S -E \"$@\"", String::from_utf8(printed.stdout).unwrap().trim()));
    for (fixture, missing) in
        [("same_plain_op13.onnx", ["numpy", "onnxruntime"]), ("same_fused.tflite", ["numpy", "ai-edge-litert"])]
    {
        let (folder, model) = imported(fixture);
        let search = std::env::var("PATH").unwrap_or_default();
        let output = mbvc(folder.path(), &verify(&model, &[]))
            .env("PATH", format!("{}:{search}", path.path().display()))
            .env_remove("MBVC_PYTHON")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("lacks {}", missing.join(" and "))), "{said}");
        assert!(said.contains(&format!(" -m pip install {}", missing.join(" "))), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn the_error_of_python_is_shown() {
    let (folder, model) = imported("same_plain_op13.onnx");
    let run = |script: &str| {
        let (_folder, path) = python_of(script);
        bad(folder.path(), &verify(&model, &["--python", path.to_str().unwrap()]), 1).1
    };
    let said = run("echo no luck today >&2; exit 7");
    assert!(said.contains("no luck today") && said.contains("exit status: 7") && said.contains("Python 3.9"), "{said}");
    let said = run("read line; echo '{\"error\": \"a model of lead\"}'");
    assert!(said.contains("ONNX Runtime cannot run ") && said.contains("a model of lead"), "{said}");
    let said = run("read line; echo nonsense");
    assert!(said.contains("returned an invalid answer"), "{said}");
    let ready = r#"{"name": "Fake", "version": "1", "input": {"dtype": "float32", "shape": [1, 3, 32, 32]}}"#;
    // It announces more values than it writes.
    let said = run(&format!(
        "read line; echo '{ready}'; read line; : > \"$3/values\"; echo '{{\"values\": [{{\"dtype\": \"float32\", \"shape\": [1, 5]}}]}}'; read line"
    ));
    assert!(said.contains("Fake returned other tensors than requested"), "{said}");
}

/// The published int8 network: no logit and no tensor of a layer differs.
#[test]
#[ignore = "runs Python many times"]
fn the_published_int8_network_is_bit_exact_with_litert() {
    let (Some(model), Some(images)) = (shared("models/mobilenet_v2_1.0_224_int8_ptq.tflite"), shared("images")) else {
        return;
    };
    if !has(TFLITE) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (model, cat) = (model.to_str().unwrap(), images.join("cat.bmp"));
    good(folder.path(), &["import", model, "--output", "w.safetensors"]);
    let arguments =
        ["verify", "--weights", "w.safetensors", "--against", model, "--images", cat.to_str().unwrap(), "--json"];
    let report = &json_lines(&good(folder.path(), &arguments))[0];
    assert_eq!(
        (&report["network"]["spec"], &report["logits"]["largest_difference"]),
        (&"v2.yaml (built in)".into(), &0.0.into())
    );
    // 53 convolutions, 10 adds and the pool.
    assert_eq!(report["layers"]["values"].as_array().unwrap().len(), 64);
}
