//! Snapshots of one quantized kernel per family, and tests of the rules that choose them.

use std::collections::BTreeSet;

use mbvc_runtime::quantized::arithmetic::Integer;

use super::kernel::{
    Activations, Ahead, CallPanels, Depthwise, Finish, Gather, Interleave, Produce, Product, Widen, Windows, Writeback,
};
use crate::codegen::float::tests::formatted;
use crate::codegen::kernel::Kernel;
use crate::diagnostic::SourceFile;
use crate::ir::{Fused, Graph, Op, Order, Tensor, Widened, WidenedForm};
use crate::schedule::taps::Taps;
use crate::spec::{Overrides, Precision};
use crate::target::{DotForm, Isa, IsaFacts};

/// Returns an expansion of 16 channels, with the kernel that widens its input if it has one, and a stem whose ends are
/// gathered.
fn producers(isa: Isa, outliers: usize) -> Vec<Kernel> {
    let (lanes, form) = (isa.lanes(), isa.pixel_form());
    let widened = (form == DotForm::CrossedWords).then_some(Widened {
        of: WidenedForm::Crossed,
        run: 16,
        runs: 1,
        cols: 6,
        rows: 4,
    });
    let expand = Produce {
        isa,
        taps: Taps { runs: 1, run: 16, quads: 4, ends: false },
        stride: 1,
        first: 0,
        rows: 4,
        cols: 6,
        a_pixel: widened.map_or(16, Widened::pixel),
        c_vector: 8 * lanes * 4,
        mr: 1,
        nv: 2,
        finish: Finish::Biased,
        form,
        outliers,
        ahead: Ahead::of_panel(isa, 600),
        panels: CallPanels::ONE,
    };
    let taps = Taps { runs: 3, run: 9, quads: 2, ends: true };
    let stem = Produce {
        taps,
        stride: 2,
        first: 1,
        rows: 2,
        a_pixel: 6,
        finish: Finish::General,
        form: isa.dot_form(),
        ahead: Ahead::default(),
        ..expand
    };
    let widen = widened.map(|to| Widen { isa, rows: 4, to }.kernel());
    widen.into_iter().chain([expand.kernel(), stem.kernel()]).collect()
}

/// Returns a stem and an expansion that read gathered pairs, and the kernels that gather them.
fn pairs(isa: Isa, outliers: usize) -> Vec<Kernel> {
    let gather = Gather { isa, runs: 3, run: 9, stride: 2, rows: 2, cols: 6, a_pixel: 6, quads: true };
    let stem = Produce {
        isa,
        taps: Taps { runs: 3, run: 9, quads: 5, ends: false },
        stride: 2,
        first: 1,
        rows: 2,
        cols: 6,
        a_pixel: 15 * 16,
        c_vector: 8 * isa.lanes() * 4,
        mr: 1,
        nv: 1,
        finish: Finish::General,
        form: DotForm::Pairs,
        outliers,
        ahead: Ahead::default(),
        panels: CallPanels { count: 3, stride: 8 * 64 },
    };
    let taps = Taps { runs: 1, run: 16, quads: 8, ends: false };
    let expand = Produce { taps, stride: 1, first: 0, rows: 4, a_pixel: 8 * 16, ..stem };
    let head = Gather { runs: 1, run: 5, stride: 1, rows: 1, a_pixel: 5, quads: false, ..gather };
    vec![gather.kernel(), stem.kernel(), expand.kernel(), head.kernel()]
}

/// Returns a depthwise convolution that stores pairs of channels, and a projection that reads them.
fn of_pairs(isa: Isa, outliers: usize) -> [Kernel; 2] {
    let lanes = isa.lanes();
    let depthwise = Windows {
        isa,
        stride: 1,
        between: true,
        rows: 2,
        cols: 5,
        vectors: 2,
        a_vector: 7 * lanes * 4,
        c_vector: 10 * 4,
        finish: Finish::General,
    };
    let project = Product {
        isa,
        runs: 1,
        k: 9,
        pixels: 10,
        a: Activations::Strided { pixel: 4, quad: 10 * 4 },
        c_pixel: 5,
        half: false,
        mr: 4,
        nv: 1,
        last: 2,
        finish: Finish::General,
        writeback: Writeback::Add,
        form: DotForm::Pairs,
        outliers,
        ahead: Ahead::default(),
        panels: CallPanels { count: 2, stride: 64 },
    };
    [depthwise.kernel(), project.kernel()]
}

fn others(isa: Isa) -> [Kernel; 3] {
    let lanes = isa.lanes();
    // Two rows of six pixels are three quads. The middle quad contains pixels of both rows.
    let depthwise = Depthwise {
        isa,
        stride: 1,
        between: true,
        rows: 2,
        cols: 6,
        vectors: 2,
        a_vector: 8 * lanes * 4,
        c_vector: 12 * lanes,
        c_plane: None,
        finish: Finish::Biased,
        outliers: 0,
    };
    let project = Product {
        isa,
        runs: 1,
        k: 2 * lanes / 4,
        pixels: 12,
        a: Activations::PixelQuads { vector: 12 * lanes, quads: lanes / 4 },
        c_pixel: lanes + 3,
        half: false,
        mr: 4,
        nv: 2,
        last: 3,
        finish: Finish::General,
        writeback: Writeback::Add,
        form: isa.quad_form(),
        outliers: isa.quad_form().outlier_rows(Integer::Int8),
        ahead: Ahead { next: if isa.has_prefetch() { 256 } else { 0 }, ..Ahead::of_panel(isa, 600) },
        panels: CallPanels::ONE,
    };
    let copy = Interleave { isa, first: 1, rows: 3, cols: 6, channels: 5, a_pixel: 5, c_vector: 8 * lanes * 4 };
    [depthwise.kernel(), project.kernel(), copy.kernel()]
}

#[test]
fn one_kernel_of_each_family_and_set() {
    for isa in Isa::of(Precision::Int8).iter().copied() {
        let kernels: Vec<Kernel> = match isa.multiplies_pairs() {
            true => pairs(isa, 0).into_iter().chain(of_pairs(isa, 0)).collect(),
            false => producers(isa, 0).into_iter().chain(others(isa)).collect(),
        };
        let text: Vec<String> = kernels.iter().map(formatted).collect();
        insta::assert_snapshot!(format!("bytes_{}", isa.name()), text.join("\n"));
    }
}

#[test]
fn weights_of_older_networks_have_outliers() {
    let text: Vec<String> = producers(Isa::Avx512Vnni, 2).iter().map(formatted).collect();
    insta::assert_snapshot!(text.join("\n"));
}

/// Returns the fused blocks of a network at a resolution, with the layouts of the passes for VNNI.
fn blocks(resolution: &str) -> Vec<(Tensor, Fused)> {
    const TABLE: &str = "
name: Small
width: 1.0
resolution: SIZE
padding: same
precision: int8
isa: avx512vnni
classes: 7
stem: { channels: 32, stride: 2 }
blocks:
  - { t: 1, c: 16, n: 1, s: 1 }
  - { t: 6, c: 24, n: 2, s: 2 }
head: { channels: 56 }
";
    let source = SourceFile::new("small.yaml", TABLE.replace("SIZE", resolution));
    let compiled = crate::compile(&source, &Overrides::none()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let graph: &Graph = &compiled.programs[0].graph;
    let fused = |id| match &graph.node(id).op {
        Op::Fused(fused) => Some((graph.node(*graph.inputs(id).first()?).tensor, fused.clone())),
        _ => None,
    };
    graph.order().expect("acyclic").into_iter().filter_map(fused).collect()
}

#[test]
fn ends_are_gathered_where_that_saves_quads() {
    let steps = |resolution| {
        let blocks = blocks(resolution);
        let [stem, expand] = [0, 1].map(|at| {
            let (input, Fused { stages, .. }) = &blocks[at];
            let [.., ring, _, _] = &**stages else { panic!("a block") };
            let before = if stages.len() > 3 { stages[0].tensor } else { *input };
            Taps::of_producer(&ring.op, before, ring.tensor.shape.width)
        });
        assert!(!expand.ends);
        (stem.steps(), stem.ends)
    };
    assert_eq!(steps("32"), (7, true));
    // Fewer than four pixels per row.
    assert_eq!(steps("[32, 5]"), (9, false));
}

#[test]
fn pixels_are_packed_in_quads_where_rows_or_two_of_them_are_whole() {
    let order = |resolution| {
        let orders: BTreeSet<bool> = blocks(resolution)
            .iter()
            .filter_map(|(_, fused)| fused.stages.iter().rev().nth(1))
            .map(|depthwise| matches!(depthwise.tensor.layout.order, Order::PixelQuads { .. }))
            .collect();
        orders.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(order("32"), [true]);
    // The depthwise outputs are 18x18, then 9x9.
    assert_eq!(order("36"), [false, true]);
    // 19 rows, then 19 columns.
    assert_eq!(order("[38, 76]"), [false]);
}

/// The embedding is the pooled vector, which dense layers may follow.
#[test]
fn the_embedding_has_the_quantization_of_the_pool() {
    let tiny = include_str!("../../../../specs/tiny.yaml");
    for text in [tiny.to_owned(), tiny.replace("channels: 64 }", "channels: 64, dense: [20, 10] }")] {
        let mut overrides = Overrides::none();
        overrides.set("precision", "int8").set("isa", "portable");
        let source = SourceFile::new("tiny.yaml", text);
        let compiled = crate::compile(&source, &overrides).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let program = &compiled.programs[0];
        let plan = program.packs.tokens().to_string();
        let embedding = plan.split("embedding :").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default();
        assert!(embedding.contains("\"head.pool.scale\""), "{embedding}");
        assert_eq!(program.embedding.len(), 64);
    }
}

/// Channels are ordered where a projection multiplies pairs of bytes and nothing else reads them, in fused and in unfused
/// blocks; the first block of this network has no expansion, so that the stem's channels are ordered.
#[test]
fn channels_between_an_expansion_and_its_projection_are_ordered() {
    let orders = |isa: &str, fusion: &str| {
        let mut overrides = Overrides::none();
        overrides.set("precision", "int8").set("isa", isa).set("fusion", fusion);
        let source = SourceFile::new("tiny.yaml", include_str!("../../../../specs/tiny.yaml"));
        let compiled = crate::compile(&source, &overrides).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let plan = compiled.programs[0].packs.tokens().to_string();
        let count = |text: &str| plan.matches(text).count();
        let indices = |role: &str| count(&format!("{role} : :: core :: option :: Option :: Some"));
        (count("ChannelOrder {"), indices("inputs"), indices("outputs"), count("depthwise.weight\""))
    };
    for fusion in ["block", "relu6"] {
        let (orders_of, inputs, outputs, blocks) = orders("avx2", fusion);
        assert_eq!(inputs, orders_of, "{fusion}");
        assert_eq!(outputs, 2 * orders_of, "{fusion}");
        assert!((blocks - 1..=blocks).contains(&orders_of), "{fusion}: {orders_of} of {blocks}");
        assert_eq!(orders("avx512vnni", fusion).0, 0);
    }
}
