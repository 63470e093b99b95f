//! The lowered graph against the published table.

use std::path::PathBuf;

use mbvc_compiler::ir::{Graph, Op, Padding, Window, infer};
use mbvc_compiler::lower::{lower, padding};
use mbvc_compiler::spec::{self, Fusion, load};

use crate::support::{V2, find, parsed, rewritten};

/// One row for each numbered layer, as `layers_v2_1.0_224.csv` has them.
fn table(graph: &Graph) -> String {
    let mut rows = Vec::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let Some(layer) = node.origin.layer else { continue };
        let window = node.op.window().unwrap_or(Window::POINT);
        let (input, output) = (graph.node(graph.inputs(id)[0]).tensor.shape, node.tensor.shape);
        assert_eq!((input.height, output.height), (input.width, output.width), "{}", node.origin.name);
        let ([kernel, _], [stride, _], Padding { top, .. }) = (window.kernel, window.stride, window.padding);
        let sides = [input.height, input.channels, kernel, stride, top, output.height, output.channels];
        rows.push((layer, sides.map(|number| number.to_string()).join(",")));
    }
    rows.sort();
    let rows: String = rows.into_iter().map(|(layer, row)| format!("{layer},{row}\n")).collect();
    format!("conv,input_hw,input_c,kernel_hw,stride_hw,padding_hw,output_hw,output_c\n{rows}")
}

#[test]
fn the_published_spec_reproduces_the_published_table() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let shared = std::env::var_os("MBVC_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let path = shared.join("specs/layers_v2_1.0_224.csv");
    let published = match std::fs::read_to_string(&path) {
        Ok(published) => published,
        Err(why) if std::env::var_os("MBVC_REQUIRE_SHARED").is_some_and(|value| value == "1") => {
            panic!("{}: {why}", path.display());
        }
        Err(why) => return println!("skipped, no table: {}: {why}", path.display()),
    };
    let (_, spec) = load(root.join("specs/v2.yaml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(table(&lower(&spec)), published.replace("\r\n", "\n"));
}

fn count(graph: &Graph, predicate: impl Fn(&Op) -> bool) -> usize {
    graph.ids().filter(|id| predicate(&graph.node(*id).op)).count()
}

#[test]
fn the_network_has_the_published_numbers() {
    let graph = lower(&parsed(V2));
    assert_eq!(graph.ids().filter(|id| graph.node(*id).origin.layer.is_some()).count(), 53);
    assert_eq!(count(&graph, |op| matches!(op, Op::Conv2d(_))), 35);
    assert_eq!(count(&graph, |op| matches!(op, Op::DepthwiseConv2d(_))), 17);
    assert_eq!(count(&graph, |op| matches!(op, Op::BatchNorm(_))), 52);
    assert_eq!(count(&graph, |op| matches!(op, Op::Activation(_))), 35);
    assert_eq!(count(&graph, |op| matches!(op, Op::Add)), 10);
    let macs: usize = graph
        .ids()
        .filter_map(|id| {
            let input = graph.inputs(id).first().copied()?;
            let node = graph.node(id);
            Some(infer::macs(&node.op, graph.node(input).tensor.shape, node.tensor.shape))
        })
        .sum();
    assert_eq!(macs, 300_775_552);
}

#[test]
fn folding_leaves_the_published_number_of_parameters() {
    for fusion in [Fusion::None, Fusion::Relu6, Fusion::Block] {
        let graph = rewritten(&parsed(V2), fusion, None);
        let used = graph.used_params();
        let floats: usize = used.iter().map(|id| graph.param(*id).shape.iter().product::<usize>()).sum();
        assert_eq!((used.len(), floats), (2 * 53, 3_489_097), "{fusion:?}");
    }
}

#[test]
fn nodes_keep_their_line_and_step() {
    let graph = lower(&parsed(V2));
    let place = |name: &str| {
        let origin = &graph.node(find(&graph, name)).origin;
        (origin.line, origin.step, origin.layer)
    };
    assert_eq!(place("input"), (3, 0, None));
    assert_eq!(place("stem"), (3, 0, Some(1)));
    // Without an expansion, block 1 runs in one step with the stem.
    assert_eq!(place("block1.depthwise"), (5, 0, Some(2)));
    assert_eq!(place("block2.expand"), (6, 1, Some(4)));
    assert_eq!(place("block2.expand.bn"), (6, 1, None));
    assert_eq!(place("block3.add"), (6, 2, None));
    assert_eq!(place("block17.project"), (11, 16, Some(51)));
    assert_eq!(place("head"), (12, 17, Some(52)));
    assert_eq!(place("head.pool"), (12, 17, None));
    assert_eq!(place("classifier"), (12, 18, Some(53)));
    assert!(graph.ids().all(|id| graph.node(id).origin.name != "block1.expand"));
}

#[test]
fn a_first_block_with_expansion_is_a_separate_step() {
    let graph = lower(&parsed(&V2.replace("t: 1", "t: 6")));
    assert_eq!(graph.node(find(&graph, "stem")).origin.step, 0);
    assert_eq!(graph.node(find(&graph, "block1.expand")).origin.step, 1);
    assert_eq!(graph.node(find(&graph, "classifier")).origin.step, 19);
}

#[test]
fn same_pads_below_and_right_and_only_as_much_as_needed() {
    let same = |kernel, stride, size| {
        let Padding { top, left, bottom, right } = padding(spec::Padding::Same, kernel, stride, [size, 224]);
        assert_eq!([left, right], if stride == 2 { [0, 1] } else { [1, 1] });
        [top, bottom]
    };
    assert_eq!(same(3, 1, 224), [1, 1]);
    assert_eq!(same(3, 2, 224), [0, 1]);
    assert_eq!(same(3, 2, 7), [1, 1]);
    assert_eq!(same(3, 1, 1), [1, 1]);
    assert_eq!(same(3, 2, 1), [1, 1]);
    assert_eq!(same(3, 2, 2), [0, 1]);
    assert_eq!(padding(spec::Padding::Same, 1, 1, [5, 5]), Padding::default());
}

#[test]
fn symmetric_pads_all_sides_alike_and_gives_the_same_sizes() {
    for (stride, size) in [(1, 1), (1, 2), (2, 1), (2, 2), (2, 7), (2, 224), (1, 224)] {
        let symmetric = padding(spec::Padding::Symmetric, 3, stride, [size, size]);
        assert_eq!(symmetric, Padding { top: 1, left: 1, bottom: 1, right: 1 });
        let output = |padding| Window { kernel: [3, 3], stride: [stride; 2], padding }.output([size, size]);
        let expected = Some([size.div_ceil(stride); 2]);
        assert_eq!(output(symmetric), expected);
        assert_eq!(output(padding(spec::Padding::Same, 3, stride, [size, size])), expected);
    }
    assert_eq!(padding(spec::Padding::Symmetric, 1, 1, [5, 5]), Padding::default());
}
