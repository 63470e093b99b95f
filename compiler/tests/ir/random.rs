//! Random networks: no pass changes what they compute.

use mbvc_compiler::interp::{Mode, random_bindings, random_input, run};
use mbvc_compiler::ir::{Graph, Shape};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{Fusion, Isa, NetworkSpec};
use proptest::prelude::*;

use crate::support::{parsed, rewritten};

/// Rows of the table: expansion, channels, repetitions, stride, whether residuals are forbidden.
type Row = (usize, usize, usize, usize, bool);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Without expansion often, in the middle too.
    let row =
        (prop_oneof![Just(1_usize), Just(1), Just(2), Just(3)], 5..30_usize, 1..3_usize, 1..3_usize, any::<bool>());
    prop::collection::vec(row, 1..4)
}

/// The YAML of a small network of any form that a spec can ask for.
fn networks() -> impl Strategy<Value = String> {
    let sizes = (1..14_usize, 1..14_usize, 1..9_usize);
    let widths = prop_oneof![Just("0.1"), Just("0.35"), Just("1"), Just("1.4")];
    let words = (prop_oneof![Just("same"), Just("symmetric")], prop_oneof![Just("relu6"), Just("relu")]);
    let ends = (5..24_usize, 1..3_usize, 1..40_usize);
    (sizes, widths, words, ends, rows()).prop_map(
        |((height, width_in_pixels, classes), width, (padding, activation), (stem, stride, head), rows)| {
            let rows: String = rows
                .into_iter()
                .map(|(t, c, n, s, never)| {
                    let residual = if never { "false" } else { "auto" };
                    format!("  - {{ t: {t}, c: {c}, n: {n}, s: {s}, residual: {residual} }}\n")
                })
                .collect();
            format!(
                "resolution: [{height}, {width_in_pixels}]\nclasses: {classes}\nwidth: {width}\npadding: {padding}\n\
                 activation: {activation}\nstem: {{ channels: {stem}, stride: {stride} }}\nblocks:\n{rows}\
                 head: {{ channels: {head} }}\n"
            )
        },
    )
}

/// The last value of every step, which is the same thing at every stage of the pipeline.
fn steps(graph: &Graph, spec: &NetworkSpec, mode: Mode) -> Vec<Vec<f32>> {
    let [height, width] = spec.resolution;
    let image = random_input(Shape::new(height, width, 3), 5);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Folding rounds each parameter once; every other pass keeps every bit.
    #[test]
    fn passes_keep_what_a_network_computes(text in networks()) {
        let spec = parsed(&text);
        let raw = steps(&lower(&spec), &spec, Mode::F64);
        let folded = rewritten(&spec, Fusion::None, None);
        for (before, after) in raw.iter().zip(steps(&folded, &spec, Mode::F64)) {
            let largest = before.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
            for (before, after) in before.iter().zip(after) {
                prop_assert!((before - after).abs() <= 2e-5 * largest, "{before} became {after}");
            }
        }

        let wanted = bits(&steps(&folded, &spec, Mode::Strict));
        for pass in ["fuse_activation", "fuse_residual_add", "fuse_inverted_residual"] {
            let graph = rewritten(&spec, Fusion::Block, Some(pass));
            prop_assert_eq!(&bits(&steps(&graph, &spec, Mode::Strict)), &wanted, "{}\n{}", pass, graph);
        }
    }

    /// Layouts, tiles and places: what is laid out in one scratch computes the same, on every instruction set.
    #[test]
    fn schedules_keep_what_a_network_computes(text in networks()) {
        let spec = parsed(&text);
        let wanted = bits(&steps(&rewritten(&spec, Fusion::None, None), &spec, Mode::Strict));
        for fusion in [Fusion::None, Fusion::Relu6, Fusion::Block] {
            let graph = rewritten(&spec, fusion, None);
            for isa in [Isa::Neon, Isa::Avx2, Isa::Avx512] {
                let mut graph = graph.clone();
                let scheduled = passes::schedule(&mut graph, fusion, isa, None, &mut |_, _| {});
                prop_assert!(scheduled.is_ok(), "{fusion:?} {isa:?}: {}\n{graph}", scheduled.unwrap_err());
                prop_assert_eq!(&bits(&steps(&graph, &spec, Mode::Strict)), &wanted, "{:?} {:?}\n{}", fusion, isa, graph);
            }
        }
    }
}
