//! The layers with the fast inner product depend on shapes, not on the schedule.

use std::collections::BTreeMap;
use std::path::Path;

use insta::assert_snapshot;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::ir::{Graph, Op, Origin, Product};
use mbvc_compiler::passes::{self, Target};
use mbvc_compiler::spec::{self, Fusion, Isa, NetworkSpec, Numerics, Overrides, Precision};
use proptest::prelude::*;

use crate::support::{networks, parsed, rewritten};

/// The convolutions of a scheduled graph and how their products are summed, by name.
fn products(graph: &Graph) -> BTreeMap<String, Product> {
    let mut products = BTreeMap::new();
    let mut add = |op: &Op, origin: &Origin| {
        if let Op::Conv2d(conv) = op {
            products.insert(origin.name.clone(), conv.product);
        }
    };
    for node in graph.ids().map(|id| graph.node(id)) {
        match &node.op {
            Op::Fused(fused) => fused.stages.iter().for_each(|stage| add(&stage.op, &stage.origin)),
            op => add(op, &node.origin),
        }
    }
    products
}

fn scheduled(spec: &NetworkSpec, target: Target) -> Graph {
    let mut graph = rewritten(spec, target.fusion, None);
    passes::schedule(&mut graph, target, None, &mut |_, _| {}).unwrap_or_else(|broken| panic!("{broken}\n{graph}"));
    graph
}

const TARGET: Target =
    Target { fusion: Fusion::Block, numerics: Numerics::Fast, isa: Isa::Avx512, threads: 1, batch: 1 };

/// The plain layers of the specs in `specs/`: changes affect speed and results.
#[test]
fn published_networks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    let mut paths: Vec<_> =
        folder.read_dir().expect("the folder of specs").map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut text = String::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let spec = spec::parse(&spec::read(&path, &name).unwrap()).unwrap();
        let products = products(&scheduled(&spec, TARGET));
        let plain: Vec<_> =
            products.iter().filter(|(_, product)| **product == Product::Plain).map(|(name, _)| &**name).collect();
        text += &format!(
            "{name}: {} of {} layers are fast; plain: {}\n",
            products.len() - plain.len(),
            products.len(),
            plain.join(" ")
        );
    }
    assert_snapshot!(text);
}

/// The depth determines the summation order, so changing it changes the results.
#[test]
fn bf16_pointwise_convolutions_use_block_products() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/v2.yaml");
    let spec = spec::parse(&spec::read(&path, "v2.yaml").unwrap()).unwrap();
    let spec = NetworkSpec { precision: Precision::Bf16, ..spec };
    let products = products(&scheduled(&spec, Target { isa: Isa::AmxBf16, ..TARGET }));
    let depth = |name: &str| products[name].depth();
    let names =
        ["stem", "block1.project", "block2.expand", "block3.expand", "block3.project", "block17.project", "head"];
    assert_eq!(names.map(depth), [None, Some(32), Some(16), Some(24), Some(24), Some(32), Some(32)]);
    assert_eq!(products.values().filter(|product| product.depth().is_some()).count(), 34, "all but the stem");
}

/// Inputs of the estimate of scales: for each layer in order, its product and the operations after its sums.
fn packing(text: &str, fusion: &str, [threads, batch]: [usize; 2]) -> Vec<String> {
    let mut overrides = Overrides::none();
    overrides.set("fusion", fusion).set("isa", "avx512");
    overrides.set("threads", &threads.to_string()).set("batch", &batch.to_string());
    let compiled = mbvc_compiler::compile(&SourceFile::new("test.yaml", text), &overrides);
    let program = compiled.unwrap_or_else(|mistakes| panic!("{mistakes}")).programs.remove(0);
    let plan = program.packs.tokens().to_string();
    // The layers of the plan, without their panels.
    let layers = plan.split("PackLayer {").skip(1);
    layers.map(|layer| layer.split("panels").next().unwrap_or(layer).to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packing_does_not_depend_on_the_schedule(text in networks()) {
        let expected = packing(&text, "block", [1, 1]);
        for fusion in ["none", "relu6", "block"] {
            for schedule in [[1, 1], [2, 8], [3, 1], [8, 8]] {
                prop_assert_eq!(&packing(&text, fusion, schedule), &expected, "{} {:?}", fusion, schedule);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Code generation asserts that a call computes at least one block of pixels per row.
    #[test]
    fn blocks_fit_in_every_call(text in networks(), [height, width] in [1usize..40, 1usize..40]) {
        for (fusion, threads) in ["none", "relu6", "block"].into_iter().zip([["1", "2"], ["3", "5"], ["7", "8"]]) {
            for threads in threads {
                let mut overrides = Overrides::none();
                overrides.set("fusion", fusion).set("isa", "amxbf16").set("precision", "bf16").set("threads", threads);
                overrides.set("resolution", &format!("[{height}, {width}]"));
                let compiled = mbvc_compiler::compile(&SourceFile::new("test.yaml", &text), &overrides);
                let program = compiled.unwrap_or_else(|mistakes| panic!("{mistakes}")).programs.remove(0);
                prop_assert!(!program.kernels.is_empty());
            }
        }
    }
}

/// A residual around a block whose depthwise convolution reads a copy without fusion.
#[test]
fn packing_sees_through_copies() {
    let text = "resolution: 16\nclasses: 5\nstem: { channels: 16, stride: 2 }\nblocks:\n\
                \x20 - { t: 1, c: 16, n: 2, s: 1 }\nhead: { channels: 32 }\n";
    let expected = packing(text, "block", [1, 1]);
    assert!(expected.iter().any(|layer| layer.contains("begins_residual : true")), "{expected:?}");
    assert_eq!(packing(text, "none", [1, 1]), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn products_do_not_depend_on_the_schedule(text in networks()) {
        for (precision, isa) in [(Precision::F32, Isa::Avx512), (Precision::Bf16, Isa::AmxBf16)] {
            let spec = NetworkSpec { precision, ..parsed(&text) };
            let expected = products(&scheduled(&spec, Target { isa, ..TARGET }));
            for fusion in [Fusion::None, Fusion::Relu6, Fusion::Block] {
                for (threads, batch) in (1..=8).flat_map(|threads| [(threads, 1), (threads, 8)]) {
                    let found = products(&scheduled(&spec, Target { fusion, isa, threads, batch, ..TARGET }));
                    prop_assert_eq!(&found, &expected, "{:?}, {} threads, batch {}", fusion, threads, batch);
                }
            }
        }
    }
}
