//! Real models of torchvision, timm and transformers (`models.py`), imported from the files that they are saved in:
//! the same logits.

use std::path::Path;
use std::process::Command;

use mbvc_import::{ReadOptions, read};
use serde::Deserialize;

use super::small::logits;

const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Case {
    file: String,
    /// Height and width.
    size: [usize; 2],
    classes: usize,
    logits: Vec<f64>,
}

/// A Python with the frameworks. Without one the test is skipped with a note, or fails if one was specified.
pub fn slow_python() -> Option<String> {
    let named = std::env::var("MBVC_SLOW_PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let ran = Command::new(&python).args(["-c", "import torch, torchvision, timm, transformers, onnxscript"]).output();
    if ran.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(named.is_none(), "{python} lacks torch, torchvision, timm, transformers or onnxscript");
    eprintln!("skipped: {python} lacks torch, torchvision, timm, transformers or onnxscript");
    None
}

#[test]
#[ignore = "minutes, and the packages of `scripts/requirements-torch.txt`"]
fn torch_models_compute_the_same() {
    let Some(python) = slow_python() else { return };
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("torch-models");
    std::fs::create_dir_all(&output).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torch/models.py");
    let ran = Command::new(python).args([Path::new(script), &output]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(output.join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() >= 20);
    for case in cases {
        let imported =
            read(&output.join(&case.file), &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(imported.recovered.classes, case.classes, "{}", case.file);
        let found = logits(&imported, case.size);
        let differences = found.iter().zip(&case.logits).map(|(found, expected)| (f64::from(*found) - expected).abs());
        let largest = differences.fold(0.0, f64::max);
        let shown = imported.facts.iter().map(|fact| fact.value.as_str()).collect::<Vec<_>>().join(" | ");
        eprintln!("{}: {largest:.1e}  {shown}", case.file);
        assert!(found.len() == case.logits.len() && largest < TOLERANCE, "{}: {largest}", case.file);
        // Files beside the weights.
        if case.file.starts_with("transformers") && case.file.contains('/') {
            let labels = &imported.container.metadata["mbvc.labels"];
            assert_eq!(labels.lines().last(), Some(format!("class number {}", case.classes - 1).as_str()));
            assert_eq!(imported.recovered.resolution, case.size, "{}", case.file);
        }
    }
    std::fs::remove_dir_all(&output).unwrap();
}
