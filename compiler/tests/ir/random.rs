//! Random networks: no pass changes what they compute.

use mbvc_compiler::ir::{Graph, Shape};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{Fusion, Isa, NetworkSpec, Numerics};
use mbvc_interpreter::{Mode, random_bindings, random_input, run};
use proptest::prelude::*;

use crate::support::{networks, parsed, rewritten, scheduled};

/// The last value of every step, which must be equal at every stage of the pipeline.
fn steps(graph: &Graph, spec: &NetworkSpec, mode: Mode) -> Vec<Vec<f32>> {
    let [height, width] = spec.resolution;
    let image = random_input(Shape::new(height, width, spec.input.channels()), 5);
    let mut steps: Vec<Vec<f32>> = Vec::new();
    let logits = run(graph, &random_bindings(graph, 6), &image, mode, &mut |origin, _, values| {
        steps.resize(origin.step + 1, Vec::new());
        steps[origin.step] = values.to_vec();
    });
    assert_eq!(logits.unwrap_or_else(|why| panic!("{why}\n{graph}")), steps[steps.len() - 1]);
    steps
}

fn bits(steps: &[Vec<f32>]) -> Vec<Vec<u32>> {
    steps.iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
}

/// The network in float32 and in bf16.
fn precisions(text: &str) -> [NetworkSpec; 2] {
    ["f32", "bf16"].map(|precision| parsed(&format!("{text}\nprecision: {precision}\n")))
}

/// Folding rounds each parameter once. All other rewrites are bit-identical.
fn rewrites_keep_what_is_computed(text: &str) {
    precisions(text).iter().for_each(rewrites_keep_values);
}

fn rewrites_keep_values(spec: &NetworkSpec) {
    let raw = steps(&lower(spec), spec, Mode::F64);
    let folded = rewritten(spec, Fusion::None, None);
    for (before, after) in raw.iter().zip(steps(&folded, spec, Mode::F64)) {
        let largest = before.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        for (before, after) in before.iter().zip(after) {
            assert!((before - after).abs() <= 2e-5 * largest, "{before} became {after}");
        }
    }
    let expected = bits(&steps(&folded, spec, Mode::Strict));
    for pass in ["fuse_activation", "fuse_residual_add", "fuse_inverted_residual", "fuse_pool"] {
        let graph = rewritten(spec, Fusion::Block, Some(pass));
        assert_eq!(bits(&steps(&graph, spec, Mode::Strict)), expected, "{pass}\n{graph}");
    }
}

/// Layouts, tiles and places: the scheduled graph computes the same in one scratch, for every instruction set.
fn schedules_keep_what_is_computed(text: &str) {
    precisions(text).iter().for_each(schedules_keep_values);
}

fn schedules_keep_values(spec: &NetworkSpec) {
    for isa in Isa::of(spec.precision).iter().copied() {
        // Block products use a different summation order, so the unfused graph must use the same products.
        let mut unfused = rewritten(spec, Fusion::None, None);
        passes::choose_products(&mut unfused, Numerics::Strict, isa);
        let expected = bits(&steps(&unfused, spec, Mode::Strict));
        for fusion in [Fusion::None, Fusion::Relu6, Fusion::Block] {
            let graph = scheduled(spec, fusion, isa);
            assert_eq!(bits(&steps(&graph, spec, Mode::Strict)), expected, "{fusion:?} {isa:?}\n{graph}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_keep_what_a_network_computes(text in networks()) {
        rewrites_keep_what_is_computed(&text);
    }

    #[test]
    fn schedules_keep_what_a_network_computes(text in networks()) {
        schedules_keep_what_is_computed(&text);
    }
}

/// Unusual networks that are valid.
#[test]
fn corners() {
    let network = |resolution: &str, keys: &str, rows: &[&str]| {
        let rows: String = rows.iter().map(|row| format!("  - {{ {row} }}\n")).collect();
        let text = format!(
            "resolution: {resolution}\n{keys}\nstem: {{ channels: 8, stride: 2 }}\nblocks:\n{rows}head: {{ channels: 3 }}\n"
        );
        rewrites_keep_what_is_computed(&text);
        schedules_keep_what_is_computed(&text);
    };
    // One pixel that is halved repeatedly, and one class.
    network("1", "classes: 1\nwidth: 0.1", &["t: 1, c: 8, n: 1, s: 2", "t: 6, c: 8, n: 2, s: 2"]);
    network("1", "classes: 1\npadding: symmetric", &["t: 6, c: 8, n: 2, s: 2", "t: 1, c: 8, n: 2, s: 2"]);
    network("2", "classes: 2", &["t: 1, c: 8, n: 3, s: 1"]);
    // A row and a column of pixels.
    network("[1, 150]", "classes: 2", &["t: 6, c: 8, n: 2, s: 2", "t: 1, c: 16, n: 1, s: 2"]);
    network("[150, 1]", "classes: 2\npadding: symmetric", &["t: 1, c: 8, n: 2, s: 1", "t: 3, c: 16, n: 2, s: 2"]);
    // Gray.
    network("3", "classes: 2\ninput: gray", &["t: 1, c: 8, n: 2, s: 1"]);
    network("[1, 9]", "classes: 2\ninput: gray\npadding: symmetric", &["t: 2, c: 8, n: 2, s: 2"]);
    // Deep, strongly expanded, wide.
    network("9", "classes: 2", &["t: 2, c: 8, n: 30, s: 2"]);
    network("5", "classes: 2\npadding: symmetric", &["t: 64, c: 8, n: 2, s: 1"]);
    network("2", "classes: 3\nwidth: 8", &["t: 1, c: 24, n: 2, s: 2"]);
    // Required and forbidden residuals.
    network("7", "classes: 2", &["t: 2, c: 8, n: 2, s: 1, residual: true", "t: 1, c: 8, n: 2, s: 1, residual: false"]);
}
