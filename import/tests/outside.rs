//! Names in a file, and the name of the file, have no side effects: no other file is read or written, and no text
//! becomes part of a spec.

mod common;

use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use common::fixture;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::parse;
use mbvc_import::{ConfigFiles, Labels, ReadOptions, read, read_bytes};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The names in a folder and the folders in it.
fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn external_data_outside_of_the_folder_is_not_opened() {
    let bytes = fs::read(fixture("other_external_data.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("in").join("model.onnx");
    fs::create_dir(folder.path().join("in")).unwrap();
    // The locations have the length of the name in the file.
    let outside = "outside the model's folder";
    for location in ["../etc/pw.d", "/etc/passwd", "weights.bin"] {
        let at = bytes.windows(11).position(|window| window == b"weights.bin").unwrap();
        let mut changed = bytes.clone();
        changed[at..at + 11].copy_from_slice(location.as_bytes());
        fs::write(&model, &changed).unwrap();
        let here = model.with_file_name("weights.bin");
        // A symbolic link to a device.
        #[cfg(unix)]
        if !here.exists() {
            std::os::unix::fs::symlink("/dev/zero", here).unwrap();
        }
        let error = read(&model, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains(location) && error.contains(outside), "{error}");
    }
}

#[test]
fn archive_members_are_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    fs::create_dir_all(&inner).unwrap();
    for (name, prefix, expected) in [
        ("torch/state_dict.pth", "../../evil/", None),
        ("torch/state_dict.pth", "/tmp/../evil/", None),
        ("keras3_nested.keras", "../../", Some("a zip archive without a model")),
    ] {
        let bytes = fs::read(fixture(name)).unwrap();
        let mut archive = ZipArchive::new(Cursor::new(&bytes[..])).unwrap();
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for at in 0..archive.len() {
            let mut member = archive.by_index(at).unwrap();
            let mut content = Vec::new();
            member.read_to_end(&mut content).unwrap();
            let plain = member.name().unwrap().into_owned();
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            // The folder of a PyTorch archive is replaced, because its name is arbitrary.
            let last =
                plain.split_once('/').filter(|_| prefix.ends_with("evil/")).map_or(plain.as_str(), |(_, last)| last);
            writer.start_file(format!("{prefix}{last}"), options).unwrap();
            writer.write_all(&content).unwrap();
        }
        let path = inner.join(Path::new(name).file_name().unwrap());
        fs::write(&path, writer.finish().unwrap().into_inner()).unwrap();
        let before = names(folder.path());
        match (read(&path, &ReadOptions::default()), expected) {
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            // A state dict with other blocks than the published ones.
            (Err(error), None) => assert!(error.to_string().contains("unknown strides"), "{error}"),
            (Ok(imported), _) => assert!(expected.is_none(), "{:?}", imported.facts),
        }
        assert_eq!(names(folder.path()), before);
    }
}

/// Some YAML parsers end a line, and so a comment, at characters that others accept in it.
#[test]
fn file_names_cannot_inject_lines_into_a_spec() {
    let bytes = fs::read(fixture("same_fused.tflite")).unwrap();
    for end in ['\u{2028}', '\u{2029}', '\u{85}', '\r', '\n', '\u{feff}', '\u{ffff}', '\0'] {
        let name = format!("a{end}name: Evil{end}.tflite");
        let imported =
            read_bytes(&bytes, &name, &ReadOptions::default()).unwrap_or_else(|error| panic!("{end:?}: {error}"));
        assert_eq!(imported.spec().name, "MobileNetV2", "{end:?}");
    }
}

/// The runtime limits the length of headers; written headers must be shorter.
#[test]
fn ignores_or_rejects_labels_too_long_for_a_weights_file() {
    let label = "x".repeat(200_000);
    let config = format!(
        r#"{{"architecture": "mobilenetv2_100", "label_names": ["{label}0", "{label}1", "{label}2", "{label}3", "{label}4"]}}"#
    );
    let bytes = fs::read(fixture("torch/timm/model.safetensors")).unwrap();
    let text = "resolution: 32\nclasses: 5\npadding: symmetric\nstem: { channels: 8, stride: 2 }\nblocks:\n  \
                - { t: 1, c: 8, n: 1, s: 1 }\n  - { t: 2, c: 8, n: 2, s: 2 }\n  - { t: 3, c: 16, n: 1, s: 2 }\n\
                head: { channels: 16 }\n";
    let spec = parse(&SourceFile::new("s.yaml", text)).unwrap_or_else(|error| panic!("{error}"));
    let config_files = ConfigFiles { config: Some(config.as_bytes()), preprocessor: None };
    let options = ReadOptions { spec: Some(&spec), config_files, ..ReadOptions::default() };
    let mut imported = read_bytes(&bytes, "m.safetensors", &options).unwrap_or_else(|error| panic!("{error}"));
    assert!(imported.notes.iter().any(|note| note.contains("the labels of config.json have more than")));
    let lines = (0..5).map(|at| format!("{label}{at}\n")).collect::<String>();
    let labels = Labels::parse(lines.as_bytes(), "labels.txt").unwrap();
    let error = imported.set_labels(&labels).unwrap_err().to_string();
    assert!(error.contains("too long for the header of a weights file"), "{error}");
    assert!(!imported.container.metadata.contains_key("mbvc.labels"));
}
