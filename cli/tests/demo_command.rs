//! The command without a command: its own network, on its samples and on pictures.

mod common;

use std::path::{Path, PathBuf};

use common::{bad, good, json_lines};

/// The samples, each with what its name says that it shows.
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
fn alone_it_shows_its_network_at_work() {
    let folder = tempfile::tempdir().unwrap();
    let said = good(folder.path(), &[]);
    for (file, shown) in samples() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let row = said.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name}: {said}"));
        let label = row.trim_start_matches(name).trim_start();
        assert!(label.starts_with(&shown) || label.contains(&format!("(a {shown})")), "what it shows is told: {row}");
    }
    let right: usize =
        said.lines().find_map(|line| line.split_once(" of 12 right; int8 says the same of ")?.0.parse().ok()).unwrap();
    assert!(right >= 9 && samples().len() == 12, "{said}");
    for told in ["fused us", "unfused us", "int8 us", "one thread, ", "scratch ", "mbvc emit --block 2", "mbvc --help"]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(!said.contains('\x1b') && !said.contains('▀'), "a pipe gets plain text: {said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn pictures_are_classified_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, shown) = &samples()[0];
    let said = good(folder.path(), &[file.to_str().unwrap()]);
    assert!(said.contains(&format!(" {shown} ")) && said.contains("int8 says the same of "), "{said}");
    let said = good(folder.path(), &["--json", file.parent().unwrap().to_str().unwrap()]);
    let rows = json_lines(&said);
    assert_eq!(rows.len(), samples().len());
    let right = samples().iter().zip(&rows).filter(|((_, shown), row)| row["label"].as_str() == Some(shown)).count();
    assert!(right >= 9, "{said}");
    for ((file, _), row) in samples().iter().zip(rows) {
        assert_eq!(row["picture"].as_str(), file.to_str());
        assert!(row["score"].as_f64().is_some_and(|score| score > 0.0 && score <= 1.0), "{row}");
        assert!(row["score"].as_f64() >= row["second_score"].as_f64(), "{row}");
        assert!(
            ["fused_us", "unfused_us", "int8_us"].iter().all(|time| row[time].as_f64().is_some_and(|us| us > 0.0)),
            "{row}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_told_and_left_out() {
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
fn a_misspelled_command_is_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (_, said) = bad(folder.path(), &["clasify"], 2);
    assert!(said.contains("classify"), "the near one is proposed: {said}");
    let (_, said) = bad(folder.path(), &["--json"], 2);
    assert!(said.contains("PICTURE"), "{said}");
}
