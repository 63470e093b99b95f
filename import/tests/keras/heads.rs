//! Random heads as TensorFlow's converter and TensorFlow.js write them: the scores of Keras and of LiteRT, and every tensor
//! of quantized models.

use mbvc_compiler::spec::Rounding;

use super::common::has;
use super::litert::{self, Compared, compare};
use super::python;
use super::random::{Case, Models};

/// Models of Keras. Each is a TFLite and a TensorFlow.js model, and every second one also a quantized TFLite model.
const COUNT: usize = 16;
const SIZE: [usize; 2] = [32, 40];
const TOLERANCE: f64 = 1e-5;

#[test]
#[ignore = "minutes, and TensorFlow from `scripts/requirements-slow.txt`"]
fn keras_models_compute_the_same_with_random_heads() {
    let Some(python) = python() else { return };
    let models = Models::write("keras/random_heads.py", &python, COUNT);
    let cases: Vec<Case> = models.json("cases.json");
    assert_eq!(cases.len(), 2 * COUNT);
    let engine = models.scores_of_engine("numpy, ai_edge_litert", "litert.json");
    for case in &cases {
        models.compare(case, engine.get(&case.file), SIZE, TOLERANCE);
    }
    let quantized: Vec<String> = models.json("quantized.json");
    assert_eq!(quantized.len(), COUNT / 2);
    for file in quantized.iter().filter(|_| has(litert::PACKAGES)) {
        let path = models.folder.join(file);
        compare(&path, Compared::Every, "xnnpack", Rounding::Xnnpack, &[]);
        compare(&path, Compared::ToFirstDense, "reference", Rounding::TfliteReference, &[]);
    }
    models.remove();
}
