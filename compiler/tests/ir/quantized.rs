//! Quantized graphs: their structure, bit-identical passes, and errors.

#[path = "../../../tests/common/bindings.rs"]
mod bindings;

use bindings::{Bound, Stored};
use mbvc_compiler::ir::verify::{Invariant, verify};
use mbvc_compiler::ir::{Activation, ElementType, Graph, Op};
use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{Fusion, Isa, NetworkSpec, Rounding};
use mbvc_interpreter::{InterpError, run_quantized};

use crate::support::{SMALL, find, parsed, rewritten, scheduled};

/// Pseudorandom numbers, the same in every run.
fn numbers(name: &str, count: usize) -> impl Iterator<Item = u32> {
    let mut state = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    })
}

/// Pseudorandom weights.
fn bindings(graph: &Graph) -> Bound {
    let used = graph.used_params().into_iter().map(|id| {
        let param = graph.param(id);
        let random = numbers(&param.name, param.shape.iter().product());
        let zero_point = param.name.ends_with("zero_point");
        let stored = match param.element {
            ElementType::F32 => Stored::F32(random.map(|n| 0.02 + f32::from((n % 97) as u8) * 2e-4).collect()),
            ElementType::Bf16 => unreachable!("{} is bf16, which no weights file has", param.name),
            ElementType::I8 => Stored::I8(random.map(|n| n as i8).collect()),
            ElementType::U8 => Stored::U8(random.map(|n| n as u8).collect()),
            ElementType::I32 if param.name.ends_with("weight.zero_point") => {
                Stored::I32(random.map(|n| 120 + (n % 16) as i32).collect())
            }
            ElementType::I32 if zero_point => Stored::I32(random.map(|n| (n % 100) as i32).collect()),
            ElementType::I32 => Stored::I32(random.map(|n| (n % 4000) as i32 - 2000).collect()),
        };
        (param.name.clone(), stored)
    });
    Bound(used.collect())
}

fn small(precision: &str) -> NetworkSpec {
    parsed(&format!("{SMALL}precision: {precision}\n"))
}

fn image(precision: &str) -> Vec<i32> {
    let least = if precision == "int8" { -128 } else { 0 };
    numbers("image", 11 * 9 * 3).map(|n| (n % 256) as i32 + least).collect()
}

/// The last value of every step.
fn steps(graph: &Graph, bound: &Bound, rounding: Rounding, image: &[i32]) -> Vec<Vec<i32>> {
    let mut steps: Vec<Vec<i32>> = Vec::new();
    let logits = run_quantized(graph, bound, rounding, image, &mut |origin, _, values| {
        steps.resize(origin.step + 1, Vec::new());
        steps[origin.step] = values.to_vec();
    });
    assert_eq!(logits.unwrap_or_else(|why| panic!("{why}\n{graph}")), steps[steps.len() - 1]);
    steps
}

#[test]
fn no_pass_changes_a_number() {
    for precision in ["int8", "uint8"] {
        let spec = small(precision);
        let bound = bindings(&lower(&spec));
        for rounding in [Rounding::Xnnpack, Rounding::TfliteReference] {
            let expected = steps(&lower(&spec), &bound, rounding, &image(precision));
            let varied = expected.iter().all(|step| step.iter().any(|value| *value != step[0]));
            assert!(varied, "{precision}: a step says nothing");
            for fusion in [Fusion::None, Fusion::Relu6, Fusion::Block, Fusion::Deep] {
                let found = steps(&rewritten(&spec, fusion, None), &bound, rounding, &image(precision));
                assert!(found == expected, "{precision} {rounding:?} {fusion:?}");
                // Values in their layouts, at their places in the scratch.
                for isa in [Isa::Portable, Isa::Dsp, Isa::Neon, Isa::Avx2, Isa::Avx512Vnni, Isa::Wasm128] {
                    let found = steps(&scheduled(&spec, fusion, isa), &bound, rounding, &image(precision));
                    assert!(found == expected, "{precision} {rounding:?} {fusion:?} {isa:?}");
                }
            }
        }
    }
}

#[test]
fn no_fusion_is_that_of_epilogues() {
    let spec = small("int8");
    let [none, relu6] = [Fusion::None, Fusion::Relu6].map(|fusion| rewritten(&spec, fusion, None).to_string());
    assert_eq!(none, relu6);
    for op in ["relu6 %", "add %", "global_avg_pool"] {
        assert!(!none.lines().any(|line| line.contains(&format!("= {op}"))), "{none}");
    }
}

#[test]
fn the_roundings_differ() {
    let spec = small("int8");
    let graph = lower(&spec);
    let bound = bindings(&graph);
    let of = |rounding| steps(&graph, &bound, rounding, &image("int8"));
    assert_ne!(of(Rounding::Xnnpack), of(Rounding::TfliteReference));
}

#[test]
fn the_fused_graph_shows_quantizations() {
    insta::assert_snapshot!(rewritten(&small("uint8"), Fusion::Block, None));
}

#[test]
fn number_types_of_graph_and_execution_agree() {
    let graph = lower(&small("int8"));
    let bound = bindings(&graph);
    let run = |graph: &Graph, bound: &Bound, rounding, image: &[i32]| {
        run_quantized(graph, bound, rounding, image, &mut |_, _, _| {}).unwrap_err()
    };
    let float = lower(&parsed(SMALL));
    assert_eq!(run(&float, &bound, Rounding::Xnnpack, &image("int8")), InterpError::NotQuantized);
    let outside = vec![200; 11 * 9 * 3];
    assert!(matches!(run(&graph, &bound, Rounding::Xnnpack, &outside), InterpError::Range { .. }));
    let mut odd = bindings(&graph);
    odd.0.insert("stem.scale".to_owned(), Stored::F32(vec![0.0]));
    assert!(matches!(run(&graph, &odd, Rounding::Xnnpack, &image("int8")), InterpError::Range { .. }));
    odd.0.insert("stem.scale".to_owned(), Stored::I32(vec![1]));
    assert!(matches!(run(&graph, &odd, Rounding::Xnnpack, &image("int8")), InterpError::Type { .. }));
    let mut far = bindings(&graph);
    far.0.insert("input.zero_point".to_owned(), Stored::I32(vec![1 << 20]));
    assert!(matches!(run(&graph, &far, Rounding::Xnnpack, &image("int8")), InterpError::Range { .. }));
}

/// Breaks a valid graph, and returns the violations of quantization that the verifier finds.
fn violations(break_it: impl FnOnce(&mut Graph)) -> Vec<String> {
    let mut graph = rewritten(&small("int8"), Fusion::Relu6, None);
    verify(&graph, "test", &[]).unwrap();
    break_it(&mut graph);
    let violations = verify(&graph, "test", &[]).unwrap_err().violations;
    let quantization = violations.into_iter().filter(|violation| violation.invariant == Invariant::Quantization);
    quantization.map(|violation| format!("{} {}", violation.node, violation.message)).collect()
}

#[test]
fn invalid_quantizations_are_reported() {
    let without = violations(|graph| {
        let stem = find(graph, "stem");
        graph.node_mut(stem).tensor.quant = None;
    });
    assert!(without.contains(&"stem produces i8 without a scale".to_owned()), "{without:?}");

    let mixed = violations(|graph| {
        let stem = find(graph, "stem");
        graph.node_mut(stem).tensor.element = ElementType::U8;
    });
    assert!(mixed.contains(&"stem produces u8 from i8".to_owned()), "{mixed:?}");

    let silent = violations(|graph| {
        let head = find(graph, "head");
        if let Op::Conv2d(conv) = &mut graph.node_mut(head).op {
            conv.requantize = None;
        }
    });
    assert_eq!(silent, ["head does not requantize its sums"]);

    let other = violations(|graph| {
        let (stem, project) = (find(graph, "stem"), find(graph, "block1.project"));
        graph.node_mut(project).tensor.quant = graph.node(stem).tensor.quant;
    });
    assert_eq!(other, ["block1.project has a quantization other than the one it requantizes to"]);

    let swapped = violations(|graph| {
        let stem = find(graph, "stem");
        if let Op::Conv2d(conv) = &mut graph.node_mut(stem).op
            && let Some(requantize) = &mut conv.requantize
        {
            requantize.weight_scale = requantize.output.zero_point;
        }
    });
    assert!(swapped.contains(&"stem expects f32 for stem.zero_point, found i32".to_owned()), "{swapped:?}");

    let activated = {
        let mut graph = lower(&small("int8"));
        let (stem, relu) = (find(&graph, "stem"), find(&graph, "stem.relu6"));
        assert!(matches!(graph.node(relu).op, Op::Activation(Activation::Relu6)));
        let input = graph.inputs(stem)[0];
        graph.node_mut(relu).tensor.quant = graph.node(input).tensor.quant;
        verify(&graph, "test", &[]).unwrap_err().to_string()
    };
    assert!(activated.contains("changes the quantization"), "{activated}");
}
