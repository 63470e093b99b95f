//! Graphs broken on purpose: every rule of the verifier is seen to bite, and none where nothing is wrong.

use mbvc_compiler::ir::verify::Invariant::{self, Acyclic, Ends, Inputs, Layers, Params, Stages, Steps, Type};
use mbvc_compiler::ir::verify::{Postcondition, Violation, verify};
use mbvc_compiler::ir::{
    Activation, ElementType, Epilogue, Fused, Graph, Layout, Op, Padding, Param, ParamId, ParamSource, Place, Shape,
    Stage,
};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes::{self, Target};
use mbvc_compiler::spec::{Fusion, Isa, Numerics};

use crate::support::{Hand, SMALL, find, parsed, rewritten, scheduled};

const REWRITTEN: [Postcondition; 5] = [
    Postcondition::BatchNormFolded,
    Postcondition::ActivationFused,
    Postcondition::ResidualFused,
    Postcondition::InvertedResidualFused,
    Postcondition::PoolFused,
];
const SCHEDULED: [Postcondition; 8] = [
    Postcondition::BatchNormFolded,
    Postcondition::ActivationFused,
    Postcondition::ResidualFused,
    Postcondition::InvertedResidualFused,
    Postcondition::PoolFused,
    Postcondition::LayoutsAssigned,
    Postcondition::TilesAssigned,
    Postcondition::ScratchPlanned,
];

fn violations(graph: &Graph, since: &[Postcondition]) -> Vec<Violation> {
    verify(graph, "test", since).err().map(|errors| errors.violations).unwrap_or_default()
}

/// Asserts that the verifier finds `invariant` broken at `node`, for the reason given.
fn found(graph: &Graph, since: &[Postcondition], invariant: Invariant, node: &str, reason: &str) {
    let violations = violations(graph, since);
    let matching = |v: &&Violation| v.invariant == invariant && v.node == node && v.message.contains(reason);
    assert!(violations.iter().any(|v| matching(&v)), "{invariant} at {node} ({reason}) not in {violations:#?}");
}

fn unfused() -> Graph {
    lower(&parsed(SMALL))
}

fn fused() -> Graph {
    rewritten(&parsed(SMALL), Fusion::Block, None)
}

/// For 16 lanes; block 3 has a residual, and its image is small enough to be streamed whole.
fn planned(fusion: Fusion) -> Graph {
    scheduled(&parsed(SMALL), fusion, Isa::Avx512)
}

fn stages<'g>(graph: &'g mut Graph, name: &str) -> &'g mut Vec<Stage> {
    let id = find(graph, name);
    match &mut graph.node_mut(id).op {
        Op::Fused(fused) => &mut fused.stages,
        op => panic!("{name} is {}", op.name()),
    }
}

#[test]
fn nothing_is_wrong_with_what_the_passes_make() {
    assert_eq!(violations(&unfused(), &[]), []);
    assert_eq!(violations(&fused(), &REWRITTEN), []);
    assert_eq!(violations(&planned(Fusion::Block), &SCHEDULED), []);
    for fusion in [Fusion::None, Fusion::Relu6] {
        assert_eq!(violations(&planned(fusion), &SCHEDULED[5..]), []);
    }
}

#[test]
fn cycles() {
    let mut graph = unfused();
    let (from, to) = (find(&graph, "block2.expand"), find(&graph, "block2.project"));
    graph.push_input(from, to);
    found(&graph, &[], Acyclic, "block2.expand", "depends on itself");
    found(&graph, &[], Acyclic, "block2.depthwise.bn", "depends on itself");
    found(&graph, &[], Inputs, "block2.expand", "slots [0, 1], wants [0]");
    let cyclic = violations(&graph, &[]).iter().filter(|v| v.invariant == Acyclic).count();
    assert_eq!(cyclic, 7, "expand, depthwise, what follows them, and the projection");
    // The text of a graph without an order can still be had.
    assert!(graph.to_string().contains("block2.expand"));
}

#[test]
fn inputs() {
    let mut graph = unfused();
    graph.remove(find(&graph, "block3.project.bn"));
    found(&graph, &[], Inputs, "block3.add", "slots [1], wants [0, 1]");
    found(&graph, &[], Ends, "classifier", "one result too many");

    let mut graph = fused();
    let (block, input) = (find(&graph, "block4"), find(&graph, "block2"));
    graph.push_input(block, input);
    found(&graph, &[], Inputs, "block4", "slots [0, 1], wants [0]");
}

#[test]
fn ends() {
    let mut graph = unfused();
    let second = graph.node(find(&graph, "input")).clone();
    graph.add(second, &[]);
    found(&graph, &[], Ends, "input", "one image too many");
    found(&graph, &[], Ends, "input", "one result too many");
    found(&Graph::default(), &[], Ends, "the graph", "has no image");
    found(&Graph::default(), &[], Ends, "the graph", "has no result");
}

#[test]
fn steps_and_layers() {
    let mut graph = unfused();
    let expand = find(&graph, "block2.expand");
    graph.node_mut(expand).origin.step = 9;
    found(&graph, &[], Steps, "block2.expand.bn", "of step 1 reads block2.expand of step 9");

    let mut graph = fused();
    stages(&mut graph, "block3")[1].origin.layer = None;
    found(&graph, &[], Layers, "block3.project", "layer 9 where 8 comes next");
    stages(&mut graph, "block3")[1].origin.layer = Some(7);
    found(&graph, &[], Layers, "block3.expand", "layer 7 where 8 comes next");
}

#[test]
fn types() {
    let mut graph = unfused();
    let expand = find(&graph, "block2.expand");
    graph.node_mut(expand).tensor.shape.channels += 1;
    found(&graph, &[], Type, "block2.expand", "makes 6x5x32, but is typed 6x5x33");
    found(&graph, &[], Type, "block2.expand.bn", "makes 6x5x33, but is typed 6x5x32");
    found(&graph, &[], Params, "block2.expand", "wants [1, 1, 16, 33] of block2.expand.raw_weight");

    let mut graph = unfused();
    let input = find(&graph, "input");
    graph.node_mut(input).tensor.shape = Shape::new(0, 4, 3);
    found(&graph, &[], Type, "input", "which is nothing");

    let mut graph = unfused();
    let stem = find(&graph, "stem");
    let Op::Conv2d(conv) = &mut graph.node_mut(stem).op else { panic!() };
    conv.window.kernel = [99, 3];
    found(&graph, &[], Type, "stem", "a window that does not fit 11x9x3");

    let mut graph = unfused();
    let (add, expanded) = (find(&graph, "block3.add"), find(&graph, "block3.expand.relu6"));
    graph.redirect(add, find(&graph, "block3.project.bn"), expanded);
    found(&graph, &[], Type, "block3.add", "adds 3x3x16 to 3x3x32");

    let mut graph = fused();
    stages(&mut graph, "block3")[0].tensor.shape.height = 8;
    found(&graph, &[], Type, "block3.expand", "makes 3x3x32, but is typed 8x3x32");
    found(&graph, &[], Type, "block3.depthwise", "makes 8x3x32, but is typed 3x3x32");
}

#[test]
fn params() {
    let mut graph = unfused();
    let twin = Param {
        name: "stem.bn.mean".to_owned(),
        shape: vec![8],
        element: ElementType::F32,
        source: ParamSource::Stored,
    };
    graph.add_param(twin);
    found(&graph, &[], Params, "stem.bn.mean", "is the name of two parameters");

    let mut graph = unfused();
    let stem = find(&graph, "stem");
    let Op::Conv2d(conv) = &mut graph.node_mut(stem).op else { panic!() };
    conv.weight = ParamId(999);
    found(&graph, &[], Params, "stem", "names parameter 999");
    found(&graph, &[], Type, "stem", "names a parameter that the graph does not have");

    let mut graph = fused();
    let classifier = find(&graph, "classifier");
    let used = graph.used_params();
    let Op::Dense(dense) = &mut graph.node_mut(classifier).op else { panic!() };
    dense.bias = used[0];
    found(&graph, &[], Params, "classifier", "wants [3] of stem.weight, which is [3, 3, 3, 8]");
    // Also inside fused nodes.
    let Op::DepthwiseConv2d(op) = &mut stages(&mut graph, "block3")[1].op else { panic!() };
    op.weight = used[0];
    found(&graph, &[], Params, "block3.depthwise", "wants [3, 3, 32] of stem.weight");
}

#[test]
fn recipes_of_params() {
    let mut hand = Hand::default();
    let weight = hand.param("w", &[1, 1, 2, 4]);
    let [gamma, short] = [hand.param("gamma", &[4]), hand.param("short", &[3])];
    let mut fold = |name: &str, weight, gamma, variance| {
        let source = ParamSource::FoldedWeight { weight, gamma, variance, epsilon: 1e-3 };
        hand.0.add_param(Param { name: name.to_owned(), shape: vec![1, 1, 2, 4], element: ElementType::F32, source })
    };
    let folded = fold("right", weight, gamma, gamma);
    fold("unequal", weight, gamma, short);
    fold("twice", folded, gamma, gamma);
    fold("unknown", weight, ParamId(99), gamma);
    let graph = hand.0;
    found(&graph, &[], Params, "unequal", "wants [4] of short, which is [3]");
    found(&graph, &[], Params, "twice", "is folded from right, which is folded itself");
    found(&graph, &[], Params, "unknown", "is folded from parameter 99");
    assert!(violations(&graph, &[]).iter().all(|v| v.node != "right"));
}

#[test]
fn stages_of_fused_nodes() {
    let mut graph = fused();
    stages(&mut graph, "block3").swap(0, 1);
    found(&graph, &[], Stages, "block3.expand", "(conv2d) cannot be stage 2 of 3");
    found(&graph, &[], Stages, "block3.depthwise", "(depthwise) cannot be stage 1 of 3");

    let mut graph = fused();
    stages(&mut graph, "block4").remove(0);
    found(&graph, &[], Stages, "block4.project", "cannot be stage 2 of 2");

    let mut graph = fused();
    stages(&mut graph, "block4").clear();
    found(&graph, &[], Stages, "block4", "has no stage");

    let mut graph = fused();
    let inner = graph.node(find(&graph, "block4")).clone();
    stages(&mut graph, "block3")[0].op = inner.op;
    found(&graph, &[], Stages, "block3.expand", "(fused) cannot be stage 1 of 3");

    let mut graph = fused();
    let Op::Conv2d(project) = &mut stages(&mut graph, "block3")[2].op else { panic!() };
    project.epilogue.activation = Some(Activation::Relu6);
    found(&graph, &[], Stages, "block3.project", "cannot be stage 3 of 3");

    let mut graph = fused();
    let Op::Conv2d(expand) = &mut stages(&mut graph, "block3")[0].op else { panic!() };
    expand.epilogue.residual = true;
    found(&graph, &[], Stages, "block3.expand", "adds a residual, which only the last stage can");

    let mut graph = fused();
    let Op::Conv2d(project) = &mut stages(&mut graph, "block3")[2].op else { panic!() };
    project.epilogue.pool = Some([3, 3]);
    found(&graph, &[], Stages, "block3.project", "averages, which no stage can");

    let mut graph = fused();
    stages(&mut graph, "block3")[1].origin.step = 7;
    found(&graph, &[], Stages, "block3", "has a stage of another step");

    let mut graph = fused();
    let block = find(&graph, "block3");
    graph.node_mut(block).tensor.layout.border.top = 1;
    found(&graph, &[], Stages, "block3", "makes another value than its last stage");
}

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
    found(&with(&whole, "block3.expand", Layout::nhwc(0)), &[], Invariant::Layout, "block3.expand", "holds nothing");
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
        "lies unlike what it makes",
    );
    found(
        &with(&whole, "block2.project", bordered(16)),
        &[],
        Invariant::Layout,
        "block3.add",
        "lies unlike what it makes",
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
    found(&residual, &[], Invariant::Layout, "block3.project", "adds a value that lies unlike what it makes");
}

#[test]
fn averages_that_no_kernel_makes() {
    let with = |fusion, name: &str, change: &dyn Fn(&mut Op)| {
        let mut graph = rewritten(&parsed(SMALL), fusion, None);
        let id = find(&graph, name);
        change(&mut graph.node_mut(id).op);
        graph
    };
    let average = |op: &mut Op| match op {
        Op::Conv2d(conv) => conv.epilogue.pool = Some([6, 5]),
        Op::DepthwiseConv2d(conv) => conv.epilogue.pool = Some([6, 5]),
        op => panic!("{}", op.name()),
    };
    let stem = with(Fusion::Relu6, "stem", &average);
    found(&stem, &[], Type, "stem", "averages, but looks at more than one pixel");
    let residual = with(Fusion::Relu6, "block3.project", &average);
    found(&residual, &[], Type, "block3.project", "averages, but adds a residual");
    let depthwise = with(Fusion::Relu6, "block3.depthwise", &average);
    found(&depthwise, &[], Type, "block3.depthwise", "averages, which a depthwise convolution does not");
    let head = with(Fusion::Block, "head", &average);
    found(&head, &[], Type, "head", "averages 6x5 pixels of 3x3x5");

    let mut graph = fused();
    let block = find(&graph, "block4");
    graph.node_mut(block).tensor.layout.border.left = 1;
    found(&graph, &[], Invariant::Layout, "head", "reads pixels with gaps between them");
}

#[test]
fn borders_that_windows_do_not_find() {
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
    // More below than needed does no harm, and before layouts are assigned there is none at all.
    graph.node_mut(border).tensor.layout.border.bottom = 5;
    assert!(violations(&graph, &SCHEDULED[5..]).iter().all(|v| v.invariant != Invariant::Layout));
    assert_eq!(violations(&rewritten(&parsed(SMALL), Fusion::Relu6, None), &SCHEDULED[..3]), []);
}

#[test]
fn rings_that_hold_too_little() {
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
    found(&broken(&at(0, 2)), since, Invariant::Layout, "stem", "looks at 3 rows of a ring of 2");
    found(&broken(&at(1, 1)), since, Invariant::Layout, "block1.depthwise", "rows of a ring of 1");
    found(&broken(&|fused| fused.rows = 0), since, Invariant::Layout, "stem", "in tiles of 0 rows of 6");
    found(&broken(&|fused| fused.rows = 7), since, Invariant::Layout, "stem", "in tiles of 7 rows of 6");
    let bordered = broken(&|fused| fused.stages[1].tensor.layout.border.top = 1);
    found(&bordered, since, Invariant::Layout, "block1.depthwise", "a ring with rows that lie outside the image");
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

#[test]
fn vectors_of_a_batch_outlive_every_call() {
    let mut graph = fused();
    let target = Target { fusion: Fusion::Block, numerics: Numerics::Strict, isa: Isa::Avx2, threads: 1, batch: 4 };
    passes::schedule(&mut graph, target, None, &mut |_, _| {}).unwrap();
    let classifier = find(&graph, "classifier");
    let place = graph.node(classifier).workspace.unwrap();
    let pooled = graph.node(graph.inputs(classifier)[0]).tensor;
    assert!(place.bytes >= 4 * pooled.elements() * 4, "{place:?}");

    // The first value of all is dead long before the classifier's turn, but not before the batch's next image.
    let over = stages(&mut graph, "stem+block1")[0].place.unwrap();
    graph.node_mut(classifier).workspace = Some(Place { offset: over.offset, ..place });
    let told = violations(&graph, &[]);
    assert!(told.iter().any(|v| v.invariant == Invariant::Place && v.message.contains("lies over")), "{told:#?}");

    graph.node_mut(classifier).workspace = None;
    let planned = Postcondition::ScratchPlanned;
    found(&graph, &[planned], Invariant::Postcondition(planned), "classifier", "images of a batch");
}

#[test]
fn places() {
    let place = |graph: &Graph, name: &str| graph.node(find(graph, name)).place.unwrap();
    let with = |fusion, name: &str, change: &dyn Fn(Place) -> Place| {
        let mut graph = planned(fusion);
        let (id, new) = (find(&graph, name), change(place(&graph, name)));
        graph.node_mut(id).place = Some(new);
        graph
    };
    let shifted = with(Fusion::Relu6, "stem", &|place| Place { offset: place.offset + 4, ..place });
    found(&shifted, &[], Invariant::Place, "stem", "off a cache line");
    let small = with(Fusion::Relu6, "stem", &|place| Place { bytes: 64, ..place });
    found(&small, &[], Invariant::Place, "stem", "has 64 bytes for");

    // The image's border is read while the stem is written.
    let mut graph = planned(Fusion::Relu6);
    let over = place(&graph, "stem.border");
    let stem = find(&graph, "stem");
    let bytes = graph.node(stem).place.unwrap().bytes;
    graph.node_mut(stem).place = Some(Place { offset: over.offset, bytes, arenas: None });
    found(&graph, &[], Invariant::Place, "stem", "lies over stem.border");

    // A residual lives until it has been added.
    let mut graph = planned(Fusion::Relu6);
    let over = place(&graph, "block2.project");
    let depthwise = find(&graph, "block3.depthwise");
    let bytes = graph.node(depthwise).place.unwrap().bytes;
    graph.node_mut(depthwise).place = Some(Place { offset: over.offset, bytes, arenas: None });
    found(&graph, &[], Invariant::Place, "block3.depthwise", "lies over block2.project");

    // A ring lives while its node runs: beside the node's input and output, and the other stages.
    for name in ["block2", "block3"] {
        let mut graph = planned(Fusion::Block);
        let over = place(&graph, name);
        let ring = &mut stages(&mut graph, "block3")[0];
        ring.place = Some(Place { offset: over.offset, bytes: ring.place.unwrap().bytes, arenas: None });
        let violations = violations(&graph, &[]);
        let told = |v: &Violation| v.node == name || v.message.contains(name);
        assert!(violations.iter().any(|v| v.invariant == Invariant::Place && told(v)), "{name}: {violations:#?}");
    }
    let mut graph = planned(Fusion::Block);
    let stages = stages(&mut graph, "block3");
    stages[1].place = stages[0].place;
    found(&graph, &[], Invariant::Place, "block3.depthwise", "lies over block3.expand");

    let mut graph = planned(Fusion::Block);
    let input = find(&graph, "input");
    graph.node_mut(input).place = Some(Place { offset: 1 << 20, bytes: 4096, arenas: None });
    found(&graph, &[], Invariant::Place, "input", "belongs to the caller");
}

#[test]
fn in_place() {
    let graph = planned(Fusion::None);
    let [conv, relu] = ["stem", "stem.relu6"].map(|name| find(&graph, name));
    assert_eq!(graph.node(conv).place, graph.node(relu).place, "activations work in place");

    // Not if the input is needed afterwards: relu6 -> depthwise and residual.
    let mut hand = Hand::default();
    let input = hand.input(Shape::new(2, 2, 16));
    let conv = hand.point("conv", input, 16, Epilogue::default());
    let relu = hand.op("relu", Op::Activation(Activation::Relu), &[conv]);
    let add = hand.op("add", Op::Add, &[relu, conv]);
    hand.op("pool", Op::GlobalAvgPool, &[add]);
    let mut graph = hand.0;
    let here = Some(Place { offset: 0, bytes: 256, arenas: None });
    graph.node_mut(conv).place = here;
    graph.node_mut(relu).place = here;
    found(&graph, &[], Invariant::Place, "relu", "lies over conv");
    graph.node_mut(relu).place = Some(Place { offset: 256, bytes: 256, arenas: None });
    // The add is the last to read either of its operands.
    graph.node_mut(add).place = here;
    assert_eq!(violations(&graph, &[]), []);
    // Half over it is no working in place, nor is what is not done element by element.
    graph.node_mut(add).place = Some(Place { offset: 64, bytes: 256, arenas: None });
    found(&graph, &[], Invariant::Place, "add", "lies over conv");

    // Nor is anything that looks at other channels or pixels.
    let mut hand = Hand::default();
    let input = hand.input(Shape::new(2, 2, 16));
    let first = hand.point("first", input, 16, Epilogue::default());
    let second = hand.point("second", first, 16, Epilogue::default());
    hand.op("pool", Op::GlobalAvgPool, &[second]);
    let mut graph = hand.0;
    graph.node_mut(first).place = here;
    graph.node_mut(second).place = here;
    found(&graph, &[], Invariant::Place, "second", "lies over first");
}

#[test]
fn postconditions() {
    let unmet = |graph: &Graph, postcondition, node: &str, reason: &str| {
        found(graph, &[postcondition], Invariant::Postcondition(postcondition), node, reason);
    };
    let spec = parsed(SMALL);
    let lowered = unfused();
    unmet(&lowered, Postcondition::BatchNormFolded, "stem.bn", "is still there");
    unmet(&lowered, Postcondition::BatchNormFolded, "stem", "has no bias");
    let folded = rewritten(&spec, Fusion::None, None);
    unmet(&folded, Postcondition::ActivationFused, "block3.depthwise.relu6", "is apart from its convolution");
    let activated = rewritten(&spec, Fusion::Relu6, Some("fuse_activation"));
    unmet(&activated, Postcondition::ResidualFused, "block3.add", "is apart from its convolution");
    let epilogues = rewritten(&spec, Fusion::Relu6, None);
    unmet(&epilogues, Postcondition::InvertedResidualFused, "block3.project", "is apart from its depthwise");
    unmet(&epilogues, Postcondition::PoolFused, "head.pool", "is apart from its convolution");
    // What the layouts must be is a rule of its own.
    found(&epilogues, &[Postcondition::LayoutsAssigned], Invariant::Layout, "stem", "reaches 1 rows above");

    let mut graph = planned(Fusion::Block);
    let head = find(&graph, "head");
    graph.node_mut(head).tile = None;
    (stages(&mut graph, "block3")[1].tile, stages(&mut graph, "block3")[0].place) = (None, None);
    graph.node_mut(head).place = None;
    unmet(&graph, Postcondition::TilesAssigned, "head", "has no tile");
    unmet(&graph, Postcondition::TilesAssigned, "block3.depthwise", "has no tile");
    unmet(&graph, Postcondition::ScratchPlanned, "head", "has no place");
    unmet(&graph, Postcondition::ScratchPlanned, "block3.expand", "has no place");
    assert_eq!(violations(&graph, &SCHEDULED).len(), 4, "all of them at once, and nothing else");
}
