//! Models that differ in their heads and in other operations, as their frameworks write them: each has the scores that its
//! framework computes, or is refused. The scripts `fixtures/heads_*_files.py` write them.

mod common;
#[path = "common/small.rs"]
mod small;

use common::fixture;
use mbvc_import::{ReadOptions, read};
use mbvc_runtime::HeadActivation;
use serde::Deserialize;
use small::{SMALL, logits, spec};

/// Folders of `fixtures/heads`, one per script.
const GROUPS: [&str; 4] = ["keras", "tflite", "torch", "onnx"];

/// A model of `heads/GROUP/expected.json`.
#[derive(Deserialize)]
struct Case {
    /// Path in `fixtures/heads`.
    file: String,
    framework: String,
    head: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    /// Scores of the framework for the image of `pattern`; the activation that it applies.
    Scores { size: [usize; 2], activation: String, scores: Vec<f64> },
    /// A part of the message.
    Refused { refused: String },
}

fn cases() -> Vec<Case> {
    let group = |group: &'static str| {
        let text = std::fs::read_to_string(fixture("heads").join(group).join("expected.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        assert!(!cases.is_empty(), "{group}");
        cases.into_iter().map(move |case| Case { file: format!("{group}/{}", case.file), ..case })
    };
    GROUPS.into_iter().flat_map(group).collect()
}

#[test]
fn every_model_has_the_scores_of_its_framework_or_is_refused() {
    // Strides that a state dict does not record.
    let spec = spec(SMALL);
    let cases = cases();
    for Case { file, framework, head, outcome } in &cases {
        let spec = framework.starts_with("PyTorch").then_some(&spec);
        let imported = read(&fixture("heads").join(file), &ReadOptions { spec, ..ReadOptions::default() });
        match (outcome, imported) {
            (Outcome::Scores { size, activation, scores }, Ok(imported)) => {
                let logits = logits(&imported, *size);
                let found = imported.recovered.head_activation;
                // A file without an activation gets the default; its own scores are the logits.
                let applied = if activation == "none" { HeadActivation::None } else { found };
                assert_eq!(applied.word(), activation, "{file}");
                let computed = applied.scores(&logits);
                // Keras has one score for two classes.
                let computed = &computed[computed.len() - scores.len()..];
                for (found, expected) in computed.iter().zip(scores) {
                    assert!((f64::from(*found) - expected).abs() < 1e-5, "{file}: {found}, expected {expected}");
                }
                let recorded = &imported.container.metadata["mbvc.head_activation"];
                assert_eq!(recorded, found.word(), "{file}");
            }
            (Outcome::Refused { refused }, Err(error)) => {
                assert!(error.to_string().contains(refused), "{file}: {error}");
            }
            (Outcome::Refused { .. }, Ok(_)) => panic!("{file} ({head}) is imported"),
            (Outcome::Scores { .. }, Err(error)) => panic!("{file} ({head}): {error}"),
        }
    }
}

/// The table of the guide's chapter on models. `MBVC_WRITE_GUIDE=1` regenerates it.
#[test]
fn the_guide_lists_these_models() {
    const START: &str = "<!-- import/tests/heads.rs writes this table -->\n";
    const END: &str = "\n<!-- end of the table -->";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/models.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).expect("the start of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let rows = cases().into_iter().map(|case| {
        let outcome = match case.outcome {
            Outcome::Scores { activation, .. } if activation == "none" => {
                "imported; no activation in the file".to_owned()
            }
            Outcome::Scores { activation, .. } => format!("imported; scores: `{activation}`"),
            Outcome::Refused { refused } => format!("refused; the message contains `{refused}`"),
        };
        format!("| {} | {} | {outcome} |", case.framework, case.head)
    });
    let table = ["| source | head and other operations | result |".to_owned(), "|---|---|---|".to_owned()];
    let table = table.into_iter().chain(rows).collect::<Vec<_>>().join("\n");
    let current = format!("{before}{START}{table}{END}{after}");
    if std::env::var_os("MBVC_WRITE_GUIDE").is_some() {
        return std::fs::write(&path, &current).unwrap();
    }
    assert!(current == page, "regenerate the table: MBVC_WRITE_GUIDE=1 cargo test -p mbvc-import --test heads");
}
