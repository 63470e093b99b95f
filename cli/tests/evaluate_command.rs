//! `evaluate`.

mod common;

use std::path::Path;

use common::{TINY, bad, good, json_lines, tiny};
use mbvc_compiler::SourceFile;
use mbvc_compiler::ir::Graph;
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{self, Fusion};
use mbvc_import::Container;
use mbvc_interpreter::{self as interp, Mode};

const SIDE: u32 = 32;
const EVALUATE: [&str; 6] = ["evaluate", "photos", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"];

fn and<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&EVALUATE[..], more].concat()
}

/// Waves of color at the input size, which no framing changes.
fn pixels(seed: u32) -> Vec<u8> {
    let wave = |at: u32| {
        let (place, channel) = (at / 3, at % 3);
        let angle = f64::from(place % SIDE * (seed % 5) + place / SIDE * (seed % 7)) * 0.17;
        ((angle + f64::from(seed * 3 + channel * 2)).sin() * 127.0 + 128.0) as u8
    };
    (0..SIDE * SIDE * 3).map(wave).collect()
}

fn save(path: &Path, pixels: Vec<u8>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_raw(SIDE, SIDE, pixels).unwrap().save_with_format(path, image::ImageFormat::Png).unwrap();
}

/// Classes of an image by the reference interpreter, best first.
fn ranking(graph: &Graph, weights: &Container, pixels: &[u8]) -> Vec<usize> {
    // `Weights::random` records no preprocessing, so it is the default.
    let input: Vec<f32> = pixels.iter().map(|pixel| f32::from(*pixel) / 127.5 - 1.0).collect();
    let logits = interp::run(graph, weights, &input, Mode::F64, &mut |_, _, _| {}).unwrap();
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    classes
}

/// The tiny network, and images sorted into folders: those with `seed % 3 == 0` into the folder of their top-1 class, the
/// others into those of the third and of the last class.
fn sorted() -> (tempfile::TempDir, Vec<Vec<usize>>) {
    let folder = tiny();
    let weights = Container::open(&folder.path().join("tiny.safetensors")).unwrap();
    let mut graph = lower(&spec::parse(&SourceFile::new("tiny.yaml", TINY)).unwrap());
    // The container has folded weights.
    passes::run(&mut graph, Fusion::None, None, &mut |_, _| {}).unwrap();
    let rankings = (0..12).map(|seed| {
        let pixels = pixels(seed);
        let ranking = ranking(&graph, &weights, &pixels);
        let class = ranking[[0, 2, 9][seed as usize % 3]];
        save(&folder.path().join(format!("photos/{class}/{seed}.png")), pixels);
        ranking
    });
    let rankings = rankings.collect();
    (folder, rankings)
}

#[test]
fn counts_are_those_of_the_interpreter() {
    let (folder, rankings) = sorted();
    let found = &json_lines(&good(folder.path(), &and(&["--json"])))[0];
    let number = |key: &str| found[key].as_u64().unwrap();
    assert_eq!((number("images"), number("skipped")), (12, 0), "{found}");
    assert_eq!((number("first"), number("among_first_five")), (4, 8), "{found}");
    assert!((found["top1_percent"].as_f64().unwrap() - 100.0 / 3.0).abs() < 1e-9, "{found}");
    assert!((found["top5_percent"].as_f64().unwrap() - 200.0 / 3.0).abs() < 1e-9, "{found}");
    assert_eq!((&found["network"], &found["precision"]), (&"Tiny 32x32".into(), &"f32".into()));
    let sum = |list: &str, key: &str| -> u64 {
        found[list].as_array().unwrap().iter().map(|entry| entry[key].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("classes", "images"), sum("classes", "first"), sum("mistakes", "images")), (12, 4, 8));
    for (seed, ranking) in rankings.iter().enumerate().filter(|(seed, _)| seed % 3 != 0) {
        let (class, guess) = (ranking[[0, 2, 9][seed % 3]].to_string(), ranking[0].to_string());
        let same = found["mistakes"].as_array().unwrap().iter();
        assert_eq!(same.filter(|one| one["class"] == *class && one["taken_for"] == *guess).count(), 1, "{found}");
    }
}

#[test]
fn the_report_shows_accuracy_and_the_worst_classes() {
    let (folder, _) = sorted();
    let said = good(folder.path(), &EVALUATE);
    for part in ["12 images of ", "Tiny 32x32, f32, on ", "top-1 accuracy", " 33.33 %", " 66.67 %", "predicted instead"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let short = good(folder.path(), &and(&["--show", "1"]));
    assert!(short.lines().count() < said.lines().count() && short.contains("(--show N)"), "{short}");
}

#[test]
fn unreadable_images_are_reported_and_skipped() {
    let (folder, rankings) = sorted();
    let class = rankings[0][0];
    std::fs::write(folder.path().join(format!("photos/{class}/broken.png")), "no image").unwrap();
    let (out, said) = bad(folder.path(), &and(&["--json"]), 1);
    assert!(said.contains("broken.png") && said.contains("one image of 13 could not be read"), "{said}");
    let found = &json_lines(&out)[0];
    assert_eq!((&found["images"], &found["skipped"], &found["first"]), (&12.into(), &1.into(), &4.into()));
}

#[test]
fn rejects_folders_that_are_not_classes() {
    let (folder, _) = sorted();
    std::fs::create_dir(folder.path().join("photos/walrus")).unwrap();
    let (_, said) = bad(folder.path(), &EVALUATE, 1);
    assert!(said.contains("photos: no class is named `walrus`") && said.contains("0 to 9"), "{said}");
    let (_, said) = bad(folder.path(), &["evaluate", "absent", "--weights", "tiny.safetensors"], 1);
    assert!(said.contains("cannot read absent"), "{said}");
    let (_, said) = bad(folder.path(), &["evaluate", "photos"], 1);
    assert!(said.contains("--weights") && said.contains("mbvc import"), "{said}");
}
