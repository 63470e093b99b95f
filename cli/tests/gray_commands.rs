//! Networks that read gray images, in every command that reads images or models.

mod common;
#[path = "../../tests/common/python.rs"]
mod python;

use std::path::Path;
use std::process::Command;

use common::{TINY, bad, good, json_lines, picture};
use mbvc::Rgb;
use mbvc_compiler::SourceFile;
use mbvc_compiler::spec::Overrides;
use python::has;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/fixtures/heads/gray");
const SIDE: usize = 32;
const CLASSIFY: [&str; 7] = ["classify", "a.png", "gray.png", "--weights", "w.safetensors", "--spec", "w.yaml"];

/// A folder with a network for gray images, its weights, a picture in color, and the same picture in gray.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = format!("{TINY}input: gray\n");
    std::fs::write(at("w.yaml"), &text).unwrap();
    let mut overrides = Overrides::none();
    overrides.set("isa", "portable");
    let compiled = mbvc_compiler::compile(&SourceFile::new("w.yaml", text), &overrides).unwrap();
    let parameters = compiled.parameters();
    let tensors = parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    let weights = mbvc::Weights::random(tensors, compiled.conventions(), 7).unwrap();
    std::fs::write(at("w.safetensors"), weights.as_bytes()).unwrap();
    picture(&at("a.png"), 1);
    luma(&at("a.png")).save(at("gray.png")).unwrap();
    folder
}

/// A picture in gray.
fn luma(path: &Path) -> image::GrayImage {
    let color = image::open(path).unwrap().into_rgb8();
    let (width, height) = color.dimensions();
    let gray = Rgb::new(color.into_raw(), [height as usize, width as usize]).unwrap().luma();
    image::GrayImage::from_raw(width, height, gray).unwrap()
}

/// The predictions for the picture in color and in gray, which are equal.
fn predictions(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let mut answers = json_lines(&good(folder, arguments));
    assert_eq!(answers[0]["predictions"], answers[1]["predictions"], "{arguments:?}");
    answers.remove(0)["predictions"].take()
}

#[test]
fn pictures_are_converted_to_gray() {
    let folder = folder();
    let folder = folder.path();
    let said = good(folder, &["check", "w.yaml"]);
    assert!(said.contains("32x32 gray, 10 classes"), "{said}");
    assert_eq!(json_lines(&good(folder, &["check", "w.yaml", "--json"]))[0]["input"], "gray");
    let float = predictions(folder, &[&CLASSIFY[..], &["--json"]].concat());
    assert_eq!(float.as_array().unwrap().len(), 5);
    let (_, said) = bad(folder, &["classify", "a.png", "--weights", "w.safetensors", "--classes", "10"], 1);
    assert!(said.contains("input: expected rgb, found gray"), "{said}");

    good(folder, &["pack", "w.safetensors", "--spec", "w.yaml", "-o", "w.packed", "--isa", "portable"]);
    let packed = &json_lines(&good(folder, &["inspect", "w.packed", "--spec", "w.yaml", "--json"]))[0];
    assert_eq!(packed["fits"]["spec"], "w.yaml");

    let quantize =
        ["quantize", "--weights", "w.safetensors", "--spec", "w.yaml", "--calibrate", "a.png", "--crops", "9"];
    let report = &json_lines(&good(folder, &[&quantize[..], &["--output", "int8.safetensors", "--json"]].concat()))[0];
    assert_eq!(report["verdict"], "good", "{report}");
    let arguments: Vec<_> = CLASSIFY.iter().map(|word| word.replace("w.safetensors", "int8.safetensors")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let int8 = predictions(folder, &[&arguments[..], &["--precision", "int8", "--json"]].concat());
    let [float, int8] = [float, int8].map(|predictions| predictions[0]["score"].as_f64().unwrap());
    assert!((float - int8).abs() < 0.05, "{float} {int8}");
}

#[test]
fn programs_and_libraries_read_gray_pixels() {
    let folder = folder();
    let folder = folder.path();
    // The picture at the size of the network, as raw gray bytes and as a PPM in color.
    let color = image::open(folder.join("a.png")).unwrap().into_rgb8();
    let color = image::imageops::crop_imm(&color, 3, 5, SIDE as u32, SIDE as u32).to_image();
    color.save(folder.join("b.png")).unwrap();
    std::fs::write(folder.join("b.gray"), luma(&folder.join("b.png")).as_raw()).unwrap();
    let header = format!("P6 {SIDE} {SIDE} 255\n");
    std::fs::write(folder.join("b.ppm"), [header.as_bytes(), color.as_raw()].concat()).unwrap();
    let classify =
        ["classify", "b.png", "--weights", "w.safetensors", "--spec", "w.yaml", "--isa", "portable", "--json"];
    let expected = json_lines(&good(folder, &classify)).remove(0)["predictions"].take();

    let build = ["build", "w.yaml", "--weights", "w.safetensors", "--isa", "portable", "--json", "--output"];
    good(folder, &[&build[..], &["program"]].concat());
    let program = folder.join(format!("program{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(program).current_dir(folder).args(["b.ppm", "b.gray", "--json"]).output().unwrap();
    for answer in json_lines(&String::from_utf8(output.stdout).unwrap()) {
        assert_eq!(answer["predictions"], expected);
    }
    if cfg!(unix) {
        let library = [&build[..], &["net", "--kind", "static", "--example"]].concat();
        let report = json_lines(&good(folder, &library)).remove(0);
        let header = std::fs::read_to_string(folder.join("net.h")).unwrap();
        assert!(header.contains("#define NET_IMAGE_CHANNELS 1\n") && !header.contains('@'), "{header}");
        let shell = |command: &str| {
            let output = Command::new("sh").current_dir(folder).args(["-c", command]).output().unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let flags = "-Wall -Wextra -Wconversion -Wshadow -Werror -std=c99 -pedantic";
        shell(&format!("{} {flags}", report["compile"].as_str().unwrap()));
        let best = shell("./net b.ppm logits");
        let score = expected[0]["score"].as_f64().unwrap();
        assert!(best.starts_with(&format!("{score:9.6}")), "{best}");
        assert_eq!(std::fs::metadata(folder.join("logits")).unwrap().len(), 40);
    }
}

#[test]
fn models_agree_with_other_engines() {
    let engines = [("plain.onnx", "numpy, onnxruntime"), ("repeat.onnx", "numpy, onnxruntime")];
    let lite = ["plain.tflite", "copies.tflite", "grayscale_to_rgb.tflite", "plain_int8.tflite"];
    for (model, packages) in engines.into_iter().chain(lite.map(|model| (model, "numpy, ai_edge_litert"))) {
        if !has(packages) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let model = format!("{FIXTURES}/{model}");
        good(folder.path(), &["import", &model, "--output", "w.safetensors"]);
        picture(&folder.path().join("a.png"), 5);
        let verify = ["verify", "--weights", "w.safetensors", "--against", &model, "--images", "a.png", "--json"];
        let report = &json_lines(&good(folder.path(), &verify))[0];
        assert_eq!(report["agree"], true, "{model}: {report}");
        let (_, said) = bad(folder.path(), &[&verify[..], &["--bgr"]].concat(), 1);
        assert!(said.contains("reads gray images"), "{said}");
    }
}

#[test]
fn preprocessing_has_one_number() {
    let folder = tempfile::tempdir().unwrap();
    let model = format!("{FIXTURES}/plain.keras");
    let import = ["import", &model, "--output", "w.safetensors", "--force"];
    good(folder.path(), &[&import[..], &["--mean", "0.5", "--std", "0.2"]].concat());
    let spec = std::fs::read_to_string(folder.path().join("w.yaml")).unwrap();
    assert!(spec.contains("input: gray\n"), "{spec}");
    let weights = mbvc::Weights::open(folder.path().join("w.safetensors")).unwrap();
    assert_eq!(weights.preprocessing().offset, [-2.5; 3]);
    for (more, expected) in [
        (&["--bgr"][..], "bgr requires color images"),
        (&["--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2"], "pass one number for mean and one for std"),
    ] {
        let (_, said) = bad(folder.path(), &[&import[..], more].concat(), 1);
        assert!(said.contains(expected), "{said}");
    }
    let (_, said) = bad(folder.path(), &[&import[..], &["--mean", "1,2", "--std", "0.5"]].concat(), 2);
    assert!(said.contains("3 comma-separated numbers, or one for all channels"), "{said}");
}
