//! `quantize`.

mod common;

use std::path::Path;

use common::{TINY, bad, good, json_lines, shared, tiny};
use mbvc_compiler::SourceFile;
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{self, Fusion, NetworkSpec, Precision, Rounding};
use mbvc_import::Container;
use mbvc_interpreter::{self as interp, Mode, run_quantized};

/// Writes an image of smooth waves, more of them for larger seeds.
fn photo(path: &Path, seed: u32) {
    let picture = image::RgbImage::from_fn(48, 40, |x, y| {
        let wave = |k: u32| {
            let angle = f64::from(x * (seed % 3 + 1) + y * (seed % 4)) * 0.11 + f64::from(seed + k * 2);
            (angle.sin() * 127.0 + 128.0) as u8
        };
        image::Rgb([wave(0), wave(1), wave(2)])
    });
    picture.save_with_format(path, image::ImageFormat::Png).unwrap();
}

/// The tiny network, its weights, and a folder of photographs.
fn with_photos() -> tempfile::TempDir {
    let folder = tiny();
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    for seed in 0..6 {
        photo(&folder.path().join(format!("photos/{seed}.png")), seed);
    }
    folder
}

const QUANTIZE: [&str; 9] = [
    "quantize",
    "--weights",
    "tiny.safetensors",
    "--spec",
    "tiny.yaml",
    "--calibrate",
    "photos",
    "--output",
    "int8.safetensors",
];

fn and<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&QUANTIZE[..], more].concat()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Compares the int8 file in the exact interpreter with the float file in the float interpreter.
#[test]
fn the_int8_network_is_close_to_the_float_network() {
    let folder = with_photos();
    let report = &json_lines(&good(folder.path(), &and(&["--json", "--report", "int8.svg"])))[0];
    let open = |name: &str| Container::open(&folder.path().join(name)).unwrap();
    let (float, int8) = (open("tiny.safetensors"), open("int8.safetensors"));
    let float_spec = spec::parse(&SourceFile::new("tiny.yaml", TINY)).unwrap();
    let int8_spec = NetworkSpec { precision: Precision::Int8, rounding: Some(Rounding::Xnnpack), ..float_spec.clone() };
    int8.check_against(&int8_spec).unwrap();

    let mut graph = lower(&float_spec);
    passes::run(&mut graph, Fusion::Block, None, &mut |_, _| {}).unwrap();
    let logit_scale = int8.tensor("classifier.scale").unwrap().data.to_f64()[0];
    let logit_zero = int8.tensor("classifier.zero_point").unwrap().data.to_f64()[0];
    for seed in 0..4_u32 {
        let pixels: Vec<u8> = (0..32 * 32 * 3_u32)
            .map(|n| {
                ((f64::from(n / 3 % 32 * (seed + 1) + n / 96) * 0.13 + f64::from(n % 3)).sin() * 120.0 + 128.0) as u8
            })
            .collect();
        // `Weights::random` records no preprocessing, so it is the default.
        let input: Vec<f32> = pixels.iter().map(|pixel| f32::from(*pixel) / 127.5 - 1.0).collect();
        let exact = interp::run(&graph, &float, &input, Mode::F64, &mut |_, _, _| {}).unwrap();
        let numbers: Vec<i32> = pixels.iter().map(|pixel| i32::from(*pixel) - 128).collect();
        let logits = run_quantized(&lower(&int8_spec), &int8, Rounding::Xnnpack, &numbers, &mut |_, _, _| {}).unwrap();
        let exact: Vec<f64> = exact.into_iter().map(f64::from).collect();
        let found: Vec<f64> = logits.into_iter().map(|logit| logit_scale * (f64::from(logit) - logit_zero)).collect();
        assert!(cosine(&exact, &found) > 0.98, "{seed}: {exact:?} {found:?}");
    }

    assert_eq!((&report["output"], &report["verdict"]), (&"int8.safetensors".into(), &"good".into()), "{report}");
    assert_eq!(report["calibration"], serde_json::json!({"images": 6, "skipped": 0, "pictures": 6}));
    assert_eq!(report["comparison"]["images"], 6);
    let values = report["values"].as_array().unwrap();
    let names: Vec<_> = values.iter().map(|value| value["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[1], names[names.len() - 1]), ("input", "stem", "classifier"));
    assert!(values.iter().all(|value| value["cosine"].as_f64().unwrap() > 0.98), "{report}");
    let picture = std::fs::read_to_string(folder.path().join("int8.svg")).unwrap();
    assert!(names.iter().all(|name| picture.contains(name)));
    // The compiled network accepts it.
    std::fs::write(folder.path().join("int8.yaml"), format!("{TINY}precision: int8\n")).unwrap();
    let classify = ["classify", "photos", "--weights", "int8.safetensors", "--spec", "int8.yaml", "--json"];
    assert_eq!(json_lines(&good(folder.path(), &classify)).len(), 6);
    let said = good(folder.path(), &["inspect", "int8.safetensors"]);
    assert!(said.contains("mse over 6 pictures") && said.contains("block2.expand.weight"), "{said}");
}

#[test]
fn the_report_shows_the_comparison() {
    let folder = with_photos();
    photo(&folder.path().join("other.png"), 9);
    let said = good(folder.path(), &and(&["--evaluate", "other.png", "--crops", "2", "--percentile", "99.9"]));
    for part in [
        "wrote int8.safetensors: int8",
        "6 images, with crops 18 by percentile 99.9",
        "on one other image",
        "cosine of the logits",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // The output does not depend on the number of processors or on the time.
    let first = std::fs::read(folder.path().join("int8.safetensors")).unwrap();
    let again = and(&["--evaluate", "other.png", "--crops", "2", "--percentile", "99.9"]);
    let (_, said) = bad(folder.path(), &again, 1);
    assert!(said.contains("int8.safetensors already exists") && said.contains("--force"), "{said}");
    good(folder.path(), &[&again[..], &["--force"]].concat());
    assert_eq!(std::fs::read(folder.path().join("int8.safetensors")).unwrap(), first);
}

#[test]
fn unreadable_images_are_skipped() {
    let folder = with_photos();
    std::fs::write(folder.path().join("photos/broken.jpg"), "no picture").unwrap();
    let report = &json_lines(&good(folder.path(), &and(&["--json"])))[0];
    assert_eq!(report["calibration"], serde_json::json!({"images": 6, "skipped": 1, "pictures": 6}));

    std::fs::create_dir(folder.path().join("bad")).unwrap();
    std::fs::write(folder.path().join("bad/broken.jpg"), "no picture").unwrap();
    std::fs::remove_file(folder.path().join("int8.safetensors")).unwrap();
    let mut arguments = and(&[]);
    arguments[6] = "bad";
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("broken.jpg is not an image") && said.contains("no image to calibrate with"), "{said}");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    arguments[6] = "empty";
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("the folder empty contains no images"), "{said}");
    assert!(!folder.path().join("int8.safetensors").exists());
}

#[test]
fn rejects_weights_that_cannot_be_quantized() {
    let folder = with_photos();
    good(folder.path(), &QUANTIZE);
    let mut arguments = and(&[]);
    arguments[2] = "int8.safetensors";
    arguments[8] = "again.safetensors";
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("int8.safetensors") && said.contains("already quantized"), "{said}");

    // Without --spec they do not fit the built-in network.
    std::fs::remove_file(folder.path().join("int8.safetensors")).unwrap();
    let plain = [&QUANTIZE[..3], &QUANTIZE[5..]].concat();
    let (_, said) = bad(folder.path(), &plain, 1);
    assert!(said.contains("do not fit the spec") && said.contains("--spec"), "{said}");
    let (_, said) = bad(folder.path(), &and(&["--width", "0.5"]), 1);
    assert!(said.contains("do not fit the spec"), "{said}");

    let mut weights = Container::open(&folder.path().join("tiny.safetensors")).unwrap();
    if let mbvc_import::Data::F32(values) = &mut weights.tensors[0].data {
        values[3] = f32::NAN;
    }
    std::fs::write(folder.path().join("nan.safetensors"), weights.to_bytes()).unwrap();
    arguments[2] = "nan.safetensors";
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("nan.safetensors") && said.contains("NaN"), "{said}");
    // Finite, but too large: the error has the image and the layer.
    if let mbvc_import::Data::F32(values) = &mut weights.tensors[0].data {
        values.fill(f32::MAX);
    }
    std::fs::write(folder.path().join("nan.safetensors"), weights.to_bytes()).unwrap();
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("photos/0.png: stem: a value is NaN or infinite"), "{said}");
    arguments[2] = "absent.safetensors";
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("absent.safetensors"), "{said}");
    arguments[2] = "tiny.safetensors";
    arguments[8] = "tiny.safetensors";
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("the output tiny.safetensors would overwrite an input file"), "{said}");
    assert!(!folder.path().join("again.safetensors").exists());

    let (_, said) = bad(folder.path(), &and(&["--method", "mse", "--percentile", "99"]), 1);
    assert!(said.contains("--percentile requires --method percentile"), "{said}");
    arguments[8] = "absent/int8.safetensors";
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("absent/int8.safetensors: its folder does not exist"), "{said}");
    let (_, said) = bad(folder.path(), &and(&["--report", "photos"]), 1);
    assert!(said.contains("cannot write photos: it is a folder"), "{said}");
    let (_, said) = bad(folder.path(), &and(&["--percentile", "12"]), 2);
    assert!(said.contains("50 to 100"), "{said}");
}

/// Trained weights and photographs.
#[test]
fn the_photographs_keep_their_classes() {
    let (Some(model), Some(images)) = (shared("models/mobilenet_v2_1.0_224_f32.tflite"), shared("images")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    good(folder.path(), &["import", model.to_str().unwrap(), "--output", "w.safetensors"]);
    let images = images.to_str().unwrap();
    let arguments =
        ["quantize", "--weights", "w.safetensors", "--calibrate", images, "--output", "q.safetensors", "--json"];
    let report = &json_lines(&good(folder.path(), &arguments))[0];
    let comparison = &report["comparison"];
    assert_eq!((&comparison["images"], &comparison["same_first"]), (&6.into(), &6.into()), "{report}");
    let values = report["values"].as_array().unwrap();
    assert_eq!(values.len(), 1 + 53 + 10 + 1);
    for value in values {
        assert!(value["cosine"].as_f64().unwrap() > 0.993, "{value}");
    }
    let logits = &values[values.len() - 1];
    assert!(logits["cosine"].as_f64().unwrap() > 0.996, "{logits}");
    assert_eq!(report["verdict"], "good");
}
