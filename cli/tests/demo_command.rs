//! `mbvc` without a command: the demo network on its samples and on given pictures.

mod common;

use std::path::{Path, PathBuf};

use common::{bad, good, json_lines};

/// The samples with their expected labels.
fn samples() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/samples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut pictures: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "png")).collect();
    pictures.sort();
    pictures
        .into_iter()
        .map(|file| (file.clone(), file.file_stem().unwrap().to_str().unwrap().replace('-', " ")))
        .collect()
}

#[test]
fn the_demo_classifies_its_samples() {
    let folder = tempfile::tempdir().unwrap();
    let said = good(folder.path(), &[]);
    for (file, shown) in samples() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let row = said.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name}: {said}"));
        let label = row.trim_start_matches(name).trim_start();
        assert_ne!(label.starts_with(&shown), label.contains('✗'), "errors are marked: {row}");
    }
    let counted = said.lines().find_map(|line| line.strip_prefix("top-1: ")?.split_once(" of 12; int8 predicts"));
    let right: usize = counted.unwrap().0.parse().unwrap();
    assert!(right >= 9 && samples().len() == 12, "{said}");
    for part in
        ["fused µs", "unfused µs", "int8 µs", "median µs", "ratios of the minima", "mbvc emit --block 2", "mbvc --help"]
    {
        assert!(said.replace('\n', " ").contains(part), "{part}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert!(!said.contains('\x1b') && !said.contains('▀'), "no styles in a pipe: {said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
}

#[test]
fn the_demo_network_classifies_given_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (file, shown) = &samples()[0];
    let said = good(folder.path(), &[file.to_str().unwrap()]);
    assert!(said.contains(&format!(" {shown} ")) && said.contains("int8 predicts the same class for "), "{said}");
    let said = good(folder.path(), &["--json", file.parent().unwrap().to_str().unwrap()]);
    let rows = json_lines(&said);
    assert_eq!(rows.len(), samples().len());
    let right = samples().iter().zip(&rows).filter(|((_, shown), row)| row["label"].as_str() == Some(shown)).count();
    assert!(right >= 9, "{said}");
    for ((file, _), row) in samples().iter().zip(rows) {
        assert_eq!(row["picture"].as_str(), file.to_str());
        assert!(row["score"].as_f64().is_some_and(|score| score > 0.0 && score <= 1.0), "{row}");
        assert!(row["score"].as_f64() >= row["second_score"].as_f64(), "{row}");
        for network in ["fused", "unfused", "int8"] {
            let time = |key: &str| row[format!("{network}_{key}")].as_f64().unwrap();
            assert!(0.0 < time("min_us") && time("min_us") <= time("us"), "{row}");
        }
    }
}

#[test]
fn unreadable_pictures_are_reported_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.png"), "no picture").unwrap();
    let (file, shown) = &samples()[0];
    let (out, said) = bad(folder.path(), &["broken.png", file.to_str().unwrap()], 1);
    assert!(out.contains(shown), "{out}");
    assert!(said.contains("broken.png is not an image"), "{said}");
    let (_, said) = bad(folder.path(), &["absent.png"], 1);
    assert!(said.contains("absent.png"), "{said}");
}

#[test]
fn a_misspelled_command_is_not_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (_, said) = bad(folder.path(), &["clasify"], 2);
    assert!(said.contains("classify"), "the similar command is suggested: {said}");
    let (_, said) = bad(folder.path(), &["--json"], 2);
    assert!(said.contains("PICTURE"), "{said}");
}
