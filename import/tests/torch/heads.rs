//! Random heads that `torch.onnx.export` writes: the scores of PyTorch and of ONNX Runtime.

use super::models::slow_python;
use super::random::{Case, Models};

const COUNT: usize = 24;
const SIZE: [usize; 2] = [32, 32];
const TOLERANCE: f64 = 2e-5;

#[test]
#[ignore = "minutes, and the packages of `scripts/requirements-torch.txt`"]
fn torch_models_compute_the_same_with_random_heads() {
    let Some(python) = slow_python() else { return };
    let models = Models::write("torch/random_heads.py", &python, COUNT);
    let cases: Vec<Case> = models.json("cases.json");
    assert_eq!(cases.len(), COUNT);
    let engine = models.scores_of_engine("numpy, onnxruntime", "onnxruntime.json");
    for case in &cases {
        models.compare(case, engine.get(&case.file), SIZE, TOLERANCE);
    }
    models.remove();
}
