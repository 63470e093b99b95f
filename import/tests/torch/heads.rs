//! Random heads that `torch.onnx.export` writes: the scores of PyTorch and of ONNX Runtime.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use mbvc_import::{ReadOptions, read};
use serde::Deserialize;

use super::common;
use super::models::slow_python;
use super::small::{self, logits};

const COUNT: usize = 24;
const SIZE: [usize; 2] = [32, 32];
const TOLERANCE: f64 = 2e-5;

#[derive(Deserialize)]
struct Case {
    file: String,
    /// Description, for messages.
    head: String,
    activation: String,
    scores: Vec<f64>,
}

fn run(python: &str, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torch/random_heads.py");
    let ran = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// A new seed in each run; `MBVC_SEED` repeats one.
fn seed() -> u32 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos() % 100_000;
    std::env::var("MBVC_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap())
}

#[test]
#[ignore = "minutes, and the packages of `scripts/requirements-torch.txt`"]
fn torch_models_compute_the_same_with_random_heads() {
    let Some(python) = slow_python() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("random-heads");
    std::fs::create_dir_all(&folder).unwrap();
    let output = folder.to_str().unwrap();
    let seed = seed().to_string();
    eprintln!("MBVC_SEED={seed}");
    run(&python, &[output, &seed, &COUNT.to_string()]);
    let json = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&json("cases.json")).unwrap();
    assert_eq!(cases.len(), COUNT);
    let other: HashMap<String, Vec<f64>> = match common::has("numpy, onnxruntime") {
        true => {
            run(&common::python(), &[output]);
            serde_json::from_slice(&json("onnxruntime.json")).unwrap()
        }
        false => HashMap::new(),
    };
    for Case { file, head, activation, scores } in &cases {
        let imported =
            read(&folder.join(file), &ReadOptions::default()).unwrap_or_else(|error| panic!("{head}: {error}"));
        let computed = small::scores(&imported, &logits(&imported, SIZE), activation, scores.len())
            .unwrap_or_else(|problem| panic!("{head}: {problem}"));
        for expected in [Some(scores), other.get(file)].into_iter().flatten() {
            assert_eq!(computed.len(), expected.len(), "{head}");
            let differences =
                computed.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
            let largest = differences.fold(0.0, f64::max);
            assert!(largest < TOLERANCE, "MBVC_SEED={seed}, {file}: {largest:.1e}; {head}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
