//! Layouts, borders and rings.

use mbvc_compiler::ir::verify::Invariant;
use mbvc_compiler::ir::{Fused, Graph, Layout, Op, Padding};
use mbvc_compiler::spec::Fusion;

use super::{SCHEDULED, found, planned, violations};
use crate::support::{SMALL, find, parsed, rewritten};

#[test]
fn layouts_that_readers_do_not_accept() {
    let bordered = |channels| Layout { border: Padding { right: 1, ..Padding::default() }, ..Layout::nhwc(channels) };
    let with = |graph: &Graph, name: &str, layout: Layout| {
        let mut graph = graph.clone();
        let id = find(&graph, name);
        graph.node_mut(id).tensor.layout = layout;
        graph
    };
    let whole = rewritten(&parsed(SMALL), Fusion::None, None);
    found(&with(&whole, "block3.expand", Layout::nhwc(0)), &[], Invariant::Layout, "block3.expand", "empty layout");
    let ring = Layout { ring: Some(3), ..Layout::nhwc(32) };
    found(
        &with(&whole, "block3.expand", ring),
        &[],
        Invariant::Layout,
        "block3.expand",
        "a ring, which only a stage or a block",
    );
    found(
        &with(&whole, "block3.expand", bordered(32)),
        &[],
        Invariant::Layout,
        "block3.expand.relu6",
        "a layout other than its result's",
    );
    found(
        &with(&whole, "block2.project", bordered(16)),
        &[],
        Invariant::Layout,
        "block3.add",
        "a layout other than its result's",
    );
    found(
        &with(&whole, "block2.project", Layout::nhwc(8)),
        &[],
        Invariant::Layout,
        "block3.expand",
        "reads channels in groups",
    );
    found(
        &with(&whole, "block3.depthwise", Layout::nhwc(48)),
        &[],
        Invariant::Layout,
        "block3.depthwise",
        "stores 48 channels",
    );
    found(&with(&whole, "head.relu6", bordered(5)), &[], Invariant::Layout, "head.pool", "reads pixels with gaps");
    let grouped = with(&whole, "head.relu6", Layout::nhwc(4));
    found(&grouped, &[], Invariant::Layout, "head.pool", "reads pixels with gaps");
    found(&with(&whole, "head.pool", bordered(5)), &[], Invariant::Layout, "classifier", "reads pixels with gaps");
    found(&with(&whole, "input", bordered(3)), &[], Invariant::Layout, "input", "is not plain NHWC");
    found(&with(&whole, "classifier", bordered(3)), &[], Invariant::Layout, "classifier", "is not plain NHWC");

    let epilogues = rewritten(&parsed(SMALL), Fusion::Relu6, None);
    let residual = with(&epilogues, "block2.project", bordered(16));
    found(&residual, &[], Invariant::Layout, "block3.project", "adds a value with a layout other than its result's");
}

#[test]
fn borders_smaller_than_a_window_reaches() {
    let mut graph = planned(Fusion::Relu6);
    let border = find(&graph, "stem.border");
    graph.node_mut(border).tensor.layout.border.left = 0;
    found(
        &graph,
        &SCHEDULED[5..],
        Invariant::Layout,
        "stem",
        "reaches 1 columns left and 1 right of its input, which has 0 and 1",
    );
    graph.node_mut(border).tensor.layout.border = Padding { top: 1, left: 1, bottom: 1, right: 0 };
    found(&graph, &SCHEDULED[5..], Invariant::Layout, "stem", "of its input, which has 1 and 0");
    graph.node_mut(border).tensor.layout.border = Padding { top: 1, left: 1, bottom: 0, right: 1 };
    found(
        &graph,
        &SCHEDULED[5..],
        Invariant::Layout,
        "stem",
        "reaches 1 rows above and 1 below its input, which has 1 and 0",
    );
    // More rows below than required are valid, and before layouts are assigned there are none.
    graph.node_mut(border).tensor.layout.border.bottom = 5;
    assert!(violations(&graph, &SCHEDULED[5..]).iter().all(|v| v.invariant != Invariant::Layout));
    assert_eq!(violations(&rewritten(&parsed(SMALL), Fusion::Relu6, None), &SCHEDULED[..3]), []);
}

#[test]
fn rings_with_too_few_rows() {
    let broken = |change: &dyn Fn(&mut Fused)| {
        let mut graph = planned(Fusion::Block);
        let block = find(&graph, "stem+block1");
        let Op::Fused(fused) = &mut graph.node_mut(block).op else { panic!() };
        change(fused);
        graph
    };
    let at = |index: usize, ring: usize| move |fused: &mut Fused| fused.stages[index].tensor.layout.ring = Some(ring);
    let since = &SCHEDULED;
    assert_eq!(violations(&broken(&|_| {}), since), []);
    found(&broken(&at(0, 2)), since, Invariant::Layout, "stem", "reads 3 rows of a ring of 2");
    found(&broken(&at(1, 1)), since, Invariant::Layout, "block1.depthwise", "rows of a ring of 1");
    found(&broken(&|fused| fused.rows = 0), since, Invariant::Layout, "stem", "in tiles of 0 rows of 6");
    found(&broken(&|fused| fused.rows = 7), since, Invariant::Layout, "stem", "in tiles of 7 rows of 6");
    let bordered = broken(&|fused| fused.stages[1].tensor.layout.border.top = 1);
    found(&bordered, since, Invariant::Layout, "block1.depthwise", "a ring with rows outside the image");
    found(&broken(&at(2, 1)), since, Invariant::Layout, "block1.depthwise", "holds 1 rows of tiles of");
    let unbordered = broken(&|fused| fused.stages[1].tensor.layout.border = Padding::default());
    found(&unbordered, since, Invariant::Layout, "block1.depthwise", "reaches 1 columns left");
    let grouped = broken(&|fused| {
        fused.rows = 2;
        fused.stages[1].tensor.layout = Layout { group: 4, ring: Some(6), ..fused.stages[1].tensor.layout };
        fused.stages[2].tensor.layout.group = 8;
    });
    found(&grouped, since, Invariant::Layout, "stem", "keeps one channel group at a time");
}
