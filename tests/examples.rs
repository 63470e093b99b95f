//! Runs the examples with the commands in their first lines.
#![cfg(feature = "image")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs an example in the package's folder. `cargo build --workspace --examples` builds them, with the profile of the
/// tests.
fn run(name: &str, arguments: &[&str]) -> String {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    let ran = Command::new(&program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; build it with `cargo build --workspace --examples` and the profile of the tests",
                program.display()
            )
        });
    assert!(ran.status.success(), "{name} {arguments:?}: {}", ran.status);
    String::from_utf8(ran.stdout).unwrap()
}

/// The committed pictures with their classes.
fn samples() -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/samples")).unwrap();
    let files = entries.map(|entry| Path::new("demo/samples").join(entry.unwrap().file_name()));
    let pictures = files.filter(|file| file.extension().is_some_and(|end| end == "png"));
    pictures.map(|file| (file.clone(), file.file_stem().unwrap().to_str().unwrap().replace('-', " "))).collect()
}

#[test]
#[ignore = "needs the examples, which `cargo build --workspace --examples` builds"]
fn the_smallest_program_names_what_icons_show() {
    let (file, shown) = &samples()[0];
    let said = run("minimal", &[file.to_str().unwrap()]);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.starts_with(&format!("{shown} ")), "{said}");
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/minimal.rs")).unwrap();
    assert!(source.lines().count() < 15);
}

#[test]
#[ignore = "needs the examples, which `cargo build --workspace --examples` builds"]
fn a_folder_is_classified_by_many_threads() {
    let said = run("folder", &["demo/samples"]);
    let samples = samples();
    assert_eq!(said.lines().count(), samples.len(), "{said}");
    let right =
        |(file, shown): &&(PathBuf, String)| said.lines().any(|line| line == format!("{}: {shown}", file.display()));
    assert!(samples.iter().filter(right).count() >= 10, "{said}");
    let mut files: Vec<_> = samples.iter().map(|(file, _)| file.display().to_string()).collect();
    files.sort();
    let shown: Vec<_> = said.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(shown, files, "in the order of the names");
    let timed = run("folder", &["demo/samples", "--timing"]);
    let last = timed.lines().last().unwrap();
    assert!(timed.lines().count() == samples.len() + 1, "{timed}");
    assert!(
        ["pictures per second; decode ", ", resize ", ", network "].iter().all(|part| last.contains(part)),
        "{last}"
    );
}

#[test]
#[ignore = "needs the examples, which `cargo build --workspace --examples` builds"]
fn a_picture_is_nearest_to_itself() {
    let (file, _) = &samples()[0];
    let said = run("nearest", &[file.to_str().unwrap(), "demo/samples"]);
    let likeness: Vec<f32> = said.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
    assert!(said.starts_with(&format!("1.000  {}\n", file.display())), "{said}");
    assert!(likeness.len() == 5 && likeness[1] < 0.99 && likeness.is_sorted_by(|one, next| one >= next), "{said}");
}

#[test]
#[ignore = "needs the examples, which `cargo build --workspace --examples` builds"]
fn a_spec_of_ones_own_takes_the_same_weights() {
    let said = run("custom", &["demo/samples/cactus.png", "demo/samples/rocket.png"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("128x64, 53 layers, "), "{said}");
    assert!(
        ["cactus ", "rocket "].iter().all(|shown| lines[1..3].iter().any(|line| line.starts_with(shown))),
        "{said}"
    );
}
