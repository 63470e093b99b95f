//! Models that differ in their heads and in other operations, as their frameworks write them: each has the scores that its
//! framework computes, or is refused. The scripts `fixtures/heads_*_files.py` write them.

mod common;
#[path = "common/small.rs"]
mod small;

use common::fixture;
use mbvc_compiler::spec::Preprocessing;
use mbvc_import::{ImportError, Imported, ReadOptions, read};
use mbvc_runtime::Color;
use serde::Deserialize;
use small::{HEADS, logits, logits_of, logits_of_pixels, pattern, scores, spec};

/// Folders of `fixtures/heads`, one per script.
const GROUPS: [&str; 9] =
    ["keras", "tfjs", "tflite", "metadata", "torch", "torchscript", "onnx", "onnxruntime", "gray"];

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
    Scores {
        size: [usize; 2],
        activation: String,
        /// The value of a white pixel in the input, if the model itself normalizes the image.
        white: Option<f32>,
        scores: Vec<f64>,
        /// Whether the image is that of `keras_files.py`, of 0 to 255.
        #[serde(default)]
        pixels: bool,
    },
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

/// The image of `heads_torch_files.pattern`, whose pixels from 0 to white the network preprocesses.
fn preprocessed(imported: &Imported, size: [usize; 2]) -> Vec<f32> {
    let Preprocessing { scale, offset } = imported.recovered.preprocessing;
    let pixels = pattern(size, imported.spec().input.channels()).into_iter().enumerate();
    pixels.map(|(at, pixel)| pixel.abs() * 255.0 * scale[at % 3] + offset[at % 3]).collect()
}

#[test]
fn every_model_has_the_scores_of_its_framework_or_is_refused() {
    // Strides that a state dict does not record.
    let spec = spec(HEADS);
    let problems: Vec<String> = cases()
        .iter()
        .filter_map(|case| {
            let spec = case.framework.starts_with("PyTorch").then_some(&spec);
            let imported = read(&fixture("heads").join(&case.file), &ReadOptions { spec, ..ReadOptions::default() });
            let problem = problem(&case.outcome, imported)?;
            Some(format!("{} ({}): {problem}", case.file, case.head))
        })
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// Returns how a model differs from its expected outcome.
fn problem(outcome: &Outcome, imported: Result<Imported, Box<ImportError>>) -> Option<String> {
    let (imported, size, activation, white, pixels, expected) = match (outcome, &imported) {
        (Outcome::Refused { .. }, Ok(_)) => return Some("imported".into()),
        (Outcome::Refused { refused }, Err(error)) => {
            let text = error.to_string();
            return (!text.contains(refused)).then_some(text);
        }
        (Outcome::Scores { .. }, Err(error)) => return Some(error.to_string()),
        (Outcome::Scores { size, activation, white, scores, pixels }, Ok(imported)) => {
            (imported, *size, activation, white, *pixels, scores)
        }
    };
    let logits = match white {
        None if pixels => logits_of_pixels(imported, size),
        None => logits(imported, size),
        Some(_) => logits_of(imported, size, &preprocessed(imported, size)),
    };
    if imported.container.metadata["mbvc.head_activation"] != imported.recovered.head_activation.word() {
        return Some("another activation in the metadata".into());
    }
    let computed = match scores(imported, &logits, activation, expected.len()) {
        Ok(computed) => computed,
        Err(problem) => return Some(problem),
    };
    // Also if a score is not a number.
    let differs = |(found, expected): (&f32, &f64)| (f64::from(*found) - expected).abs().total_cmp(&1e-5).is_gt();
    let is_equal = !computed.iter().zip(expected).any(differs);
    (!is_equal).then(|| format!("{computed:?} for {expected:?}"))
}

/// The sum of three weights of a layer is not an 8-bit integer.
#[test]
fn quantized_weights_of_copies_are_not_summed() {
    let file = fixture("heads/gray/copies_int8.tflite");
    let error = read(&file, &ReadOptions::keep_quantization()).unwrap_err().to_string();
    assert!(error.contains("a quantized network that reads copies of a gray image"), "{error}");
    assert!(error.contains("--dequantize"), "{error}");
    let imported = read(&file, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(imported.spec().input, Color::Gray);
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
