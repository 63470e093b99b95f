//! Random models that a script of a framework writes, with the scores that the framework and an engine compute.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use mbvc_import::{ReadOptions, read};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::common;
use super::small::{self, logits, logits_of_pixels};

/// A model of `cases.json`.
#[derive(Deserialize)]
pub struct Case {
    pub file: String,
    /// Description, for messages.
    pub head: String,
    pub activation: String,
    /// Whether the image is that of `keras_files.py`, of 0 to 255.
    #[serde(default)]
    pub pixels: bool,
    pub scores: Vec<f64>,
}

/// A folder of models, and the seed of the script that wrote them.
pub struct Models {
    pub folder: PathBuf,
    pub seed: String,
    script: PathBuf,
}

impl Models {
    /// Runs `script OUTPUT SEED COUNT` with the frameworks. The script is in `import/tests`. The seed is new in each run;
    /// `MBVC_SEED` repeats one.
    pub fn write(script: &str, python: &str, count: usize) -> Self {
        let elapsed = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = std::env::var("MBVC_SEED").unwrap_or_else(|_| (elapsed().subsec_nanos() % 100_000).to_string());
        eprintln!("MBVC_SEED={seed}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random-{}", script.replace('/', "-")));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
        let models = Self { folder, seed, script };
        models.run(python, &[&models.seed, &count.to_string()]);
        models
    }

    fn run(&self, python: &str, arguments: &[&str]) {
        let ran = Command::new(python).args([&self.script, &self.folder]).args(arguments).output().unwrap();
        assert!(ran.status.success(), "MBVC_SEED={}: {}", self.seed, String::from_utf8_lossy(&ran.stderr));
    }

    pub fn json<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_slice(&std::fs::read(self.folder.join(name)).unwrap()).unwrap()
    }

    /// Runs `script OUTPUT` with an engine, and returns the scores by file from `name`; none without the engine's packages.
    pub fn scores_of_engine(&self, packages: &str, name: &str) -> HashMap<String, Vec<f64>> {
        if !common::has(packages) {
            return HashMap::new();
        }
        self.run(&common::python(), &[]);
        self.json(name)
    }

    /// Compares the scores of an imported model with those of the framework and of the engine.
    pub fn compare(&self, case: &Case, engine: Option<&Vec<f64>>, size: [usize; 2], tolerance: f64) {
        let Case { file, head, activation, pixels, scores } = case;
        let place = format!("MBVC_SEED={}, {file} ({head})", self.seed);
        let imported = read(&self.folder.join(file), &ReadOptions::default());
        let imported = imported.unwrap_or_else(|error| panic!("{place}: {error}"));
        let logits = if *pixels { logits_of_pixels(&imported, size) } else { logits(&imported, size) };
        let computed = small::scores(&imported, &logits, activation, scores.len());
        let computed = computed.unwrap_or_else(|problem| panic!("{place}: {problem}"));
        for expected in [Some(scores), engine].into_iter().flatten() {
            assert_eq!(computed.len(), expected.len(), "{place}");
            let differences =
                computed.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
            // Also if a score is not a number.
            let largest = differences.max_by(f64::total_cmp).unwrap();
            assert!(largest < tolerance, "{place}: {largest:.1e}");
        }
    }

    pub fn remove(self) {
        std::fs::remove_dir_all(self.folder).unwrap();
    }
}
