//! Edges, ends, steps, types, parameters and stages.

use mbvc_compiler::ir::verify::Invariant;
use mbvc_compiler::ir::verify::Invariant::{Acyclic, Ends, Inputs, Layers, Params, Stages, Steps, Type};
use mbvc_compiler::ir::{Activation, ElementType, Graph, Op, Param, ParamId, ParamSource, Shape};
use mbvc_compiler::spec::Fusion;

use super::{found, fused, stages, unfused, violations};
use crate::support::{Hand, SMALL, find, parsed, rewritten};

#[test]
fn cycles() {
    let mut graph = unfused();
    let (from, to) = (find(&graph, "block2.expand"), find(&graph, "block2.project"));
    graph.push_input(from, to);
    found(&graph, &[], Acyclic, "block2.expand", "depends on itself");
    found(&graph, &[], Acyclic, "block2.depthwise.bn", "depends on itself");
    found(&graph, &[], Inputs, "block2.expand", "slots [0, 1], expected [0]");
    let cyclic = violations(&graph, &[]).iter().filter(|v| v.invariant == Acyclic).count();
    assert_eq!(cyclic, 7, "expand, depthwise, what follows them, and the projection");
    // A graph without an order can still be printed.
    assert!(graph.to_string().contains("block2.expand"));
}

#[test]
fn inputs() {
    let mut graph = unfused();
    graph.remove(find(&graph, "block3.project.bn"));
    found(&graph, &[], Inputs, "block3.add", "slots [1], expected [0, 1]");
    found(&graph, &[], Ends, "classifier", "a second result");

    let mut graph = fused();
    let (block, input) = (find(&graph, "block4"), find(&graph, "block2"));
    graph.push_input(block, input);
    found(&graph, &[], Inputs, "block4", "slots [0, 1], expected [0]");
}

#[test]
fn ends() {
    let mut graph = unfused();
    let second = graph.node(find(&graph, "input")).clone();
    graph.add(second, &[]);
    found(&graph, &[], Ends, "input", "a second image");
    found(&graph, &[], Ends, "input", "a second result");
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
    found(&graph, &[], Layers, "block3.project", "layer 9, expected 8");
    stages(&mut graph, "block3")[1].origin.layer = Some(7);
    found(&graph, &[], Layers, "block3.expand", "layer 7, expected 8");
}

#[test]
fn types() {
    let mut graph = unfused();
    let expand = find(&graph, "block2.expand");
    graph.node_mut(expand).tensor.shape.channels += 1;
    found(&graph, &[], Type, "block2.expand", "produces 6x5x32, but has type 6x5x33");
    found(&graph, &[], Type, "block2.expand.bn", "produces 6x5x33, but has type 6x5x32");
    found(&graph, &[], Params, "block2.expand", "expects shape [1, 1, 16, 33] for block2.expand.raw_weight");

    let mut graph = unfused();
    let input = find(&graph, "input");
    graph.node_mut(input).tensor.shape = Shape::new(0, 4, 3);
    found(&graph, &[], Type, "input", "which is empty");

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
    found(&graph, &[], Type, "block3.expand", "produces 3x3x32, but has type 8x3x32");
    found(&graph, &[], Type, "block3.depthwise", "produces 8x3x32, but has type 3x3x32");
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
    found(&graph, &[], Type, "stem", "names a parameter that does not exist");

    let mut graph = fused();
    let classifier = find(&graph, "classifier");
    let used = graph.used_params();
    let Op::Dense(dense) = &mut graph.node_mut(classifier).op else { panic!() };
    dense.bias = used[0];
    found(&graph, &[], Params, "classifier", "expects shape [3] for stem.weight, found [3, 3, 3, 8]");
    // Also inside fused nodes.
    let Op::DepthwiseConv2d(op) = &mut stages(&mut graph, "block3")[1].op else { panic!() };
    op.weight = used[0];
    found(&graph, &[], Params, "block3.depthwise", "expects shape [3, 3, 32] for stem.weight");
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
    found(&graph, &[], Params, "unequal", "expects shape [4] for short, found [3]");
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
    found(&graph, &[], Stages, "block3.project", "pools, which no stage can");

    let mut graph = fused();
    stages(&mut graph, "block3")[1].origin.step = 7;
    found(&graph, &[], Stages, "block3", "has a stage of another step");

    let mut graph = fused();
    let block = find(&graph, "block3");
    graph.node_mut(block).tensor.layout.border.top = 1;
    found(&graph, &[], Stages, "block3", "has a value other than that of its last stage");
}

#[test]
fn pools_without_a_kernel() {
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
    found(&stem, &[], Type, "stem", "pools, but its window covers more than one pixel");
    let residual = with(Fusion::Relu6, "block3.project", &average);
    found(&residual, &[], Type, "block3.project", "pools, but adds a residual");
    let depthwise = with(Fusion::Relu6, "block3.depthwise", &average);
    found(&depthwise, &[], Type, "block3.depthwise", "pools, which a depthwise convolution cannot");
    let head = with(Fusion::Block, "head", &average);
    found(&head, &[], Type, "head", "pools 6x5 pixels of 3x3x5");

    let mut graph = fused();
    let block = find(&graph, "block4");
    graph.node_mut(block).tensor.layout.border.left = 1;
    found(&graph, &[], Invariant::Layout, "head", "reads pixels with gaps between them");
}
