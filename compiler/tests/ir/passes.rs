//! Conditions under which passes rewrite.

use mbvc_compiler::ir::{Activation, BatchNorm, Epilogue, Graph, NodeId, Op, Shape};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes::{
    self, Remark, fold_batch_norm, fuse_activation, fuse_inverted_residual, fuse_pool, fuse_residual_add,
};
use mbvc_compiler::spec::{self, Fusion, Overrides};
use mbvc_interpreter::{Mode, random_bindings, random_input, run};

use crate::support::{Hand, SMALL, V2, find, parsed};

const PLAIN: Epilogue = Epilogue { activation: None, residual: false, pool: None };
const RELU6: Epilogue = Epilogue { activation: Some(Activation::Relu6), residual: false, pool: None };
const RELU: Op = Op::Activation(Activation::Relu);

/// Runs `pass`, and checks that the result is bit-identical.
fn after(hand: &Hand, pass: fn(&mut Graph) -> Vec<Remark>) -> (Graph, Vec<String>) {
    let before = &hand.0;
    let mut graph = before.clone();
    let remarks = pass(&mut graph);
    let (bindings, shape) = (random_bindings(before, 3), before.node(find(before, "input")).tensor.shape);
    let result = |graph: &Graph| {
        let run = run(graph, &bindings, &random_input(shape, 4), Mode::Strict, &mut |_, _, _| {});
        run.unwrap_or_else(|why| panic!("{why}\n{graph}")).iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(result(before), result(&graph), "{graph}");
    assert!(remarks.iter().all(|remark| remark.line == 1));
    (graph, remarks.iter().map(|remark| format!("{}: {}", remark.node, remark.message)).collect())
}

/// Asserts that `pass` does not change the graph and leaves this remark.
fn untouched(hand: &Hand, pass: fn(&mut Graph) -> Vec<Remark>, why: &str) {
    let (graph, remarks) = after(hand, pass);
    assert_eq!(graph.to_string(), hand.0.to_string());
    assert_eq!(remarks, [why]);
}

fn start() -> (Hand, NodeId) {
    let mut hand = Hand::default();
    let input = hand.input(Shape::new(4, 5, 8));
    (hand, input)
}

fn batch_norm(hand: &mut Hand, name: &str, channels: usize) -> Op {
    let [gamma, beta, mean, variance] =
        ["gamma", "beta", "mean", "variance"].map(|part| hand.param(&format!("{name}.{part}"), &[channels]));
    Op::BatchNorm(BatchNorm { gamma, beta, mean, variance, epsilon: 1e-3 })
}

/// Every remark of the rewriting passes on a spec.
fn remarks(text: &str, fusion: Fusion) -> Vec<String> {
    let mut graph = lower(&parsed(text));
    let remarks = passes::run(&mut graph, fusion, None, &mut |_, _| {}).unwrap_or_else(|broken| panic!("{broken}"));
    remarks.iter().map(Remark::to_string).collect()
}

#[test]
fn everything_in_the_published_network_fuses() {
    for fusion in [Fusion::None, Fusion::Relu6, Fusion::Block] {
        assert_eq!(remarks(V2, fusion), Vec::<String>::new());
    }
    let mut graph = lower(&parsed(V2));
    passes::run(&mut graph, Fusion::Block, None, &mut |_, _| {}).unwrap_or_else(|broken| panic!("{broken}"));
    // Image, 17 blocks (the stem in the first), head with the pool, classifier.
    assert_eq!(graph.len(), 1 + 17 + 2);
    assert!(graph.ids().all(|id| match &graph.node(id).op {
        Op::Fused(fused) => fused.stages.len() == 3 && fused.stages.iter().all(|s| !matches!(s.op, Op::Repack)),
        _ => true,
    }));
}

#[test]
fn blocks_without_expansion_are_streamed_from_a_copy() {
    assert_eq!(
        remarks(SMALL, Fusion::Block),
        ["block4.depthwise (spec line 7): streamed from a copy of its input: block3 is in another step \
          [fuse_inverted_residual]"]
    );
    // With a residual the first block reads the stem twice.
    assert_eq!(
        remarks(&SMALL.replace("t: 1, c: 16", "t: 1, c: 8"), Fusion::Block)[..1],
        ["block1.depthwise (spec line 5): streamed from a copy of its input: stem is also read by block1.project \
          [fuse_inverted_residual]"]
    );
    assert_eq!(remarks(SMALL, Fusion::Relu6), Vec::<String>::new());
}

#[test]
fn batch_norm_stays_after_other_operations() {
    let (mut hand, input) = start();
    let norm = batch_norm(&mut hand, "bn", 8);
    hand.op("bn", norm, &[input]);
    untouched(&hand, fold_batch_norm, "bn: not folded: input is not a convolution");

    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    let norm = batch_norm(&mut hand, "bn", 8);
    let normed = hand.op("bn", norm, &[conv]);
    untouched(&hand, fold_batch_norm, "bn: not folded: conv already has a bias");

    let mut bare = Hand(hand.0.clone());
    let Op::Conv2d(op) = &mut bare.0.node_mut(conv).op else { panic!() };
    op.bias = None;
    let mut read_twice = Hand(bare.0.clone());
    read_twice.op("add", Op::Add, &[normed, conv]);
    untouched(&read_twice, fold_batch_norm, "bn: not folded: conv is also read by add");

    let Op::Conv2d(op) = &mut bare.0.node_mut(conv).op else { panic!() };
    op.epilogue = RELU6;
    untouched(&bare, fold_batch_norm, "bn: not folded: conv has an epilogue");
}

#[test]
fn activations_fuse_into_a_convolution_without_other_readers() {
    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    let relu = hand.op("relu", RELU, &[conv]);
    let (graph, remarks) = after(&hand, fuse_activation);
    assert_eq!((graph.len(), remarks.len()), (2, 0));
    assert_eq!(graph.node(conv).op.epilogue().activation, Some(Activation::Relu));

    hand.op("add", Op::Add, &[relu, conv]);
    untouched(&hand, fuse_activation, "relu: not fused: conv is also read by add");

    let (mut hand, input) = start();
    let conv = hand.depthwise("conv", input, PLAIN);
    hand.op("relu", RELU, &[conv]);
    assert_eq!(after(&hand, fuse_activation).0.len(), 2);
}

#[test]
fn activations_stay_after_other_operations() {
    let (mut hand, input) = start();
    hand.op("relu", RELU, &[input]);
    untouched(&hand, fuse_activation, "relu: not fused: input is not a convolution");

    // relu(relu6(x)) is not a single epilogue.
    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, RELU6);
    hand.op("relu", RELU, &[conv]);
    untouched(&hand, fuse_activation, "relu: not fused: conv already applies relu6");

    // relu(x + r) is not relu(x) + r.
    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    let add = hand.op("add", Op::Add, &[conv, input]);
    hand.op("relu", RELU, &[add]);
    let (graph, remarks) = after(&hand, fuse_residual_add);
    assert_eq!((graph.len(), remarks.len()), (3, 0));
    let added = "relu: not fused: conv adds a residual, which an epilogue adds after the activation";
    untouched(&Hand(graph), fuse_activation, added);
    untouched(&hand, fuse_activation, "relu: not fused: add is not a convolution");
}

#[test]
fn adds_fuse_into_a_projection_without_other_readers() {
    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    let add = hand.op("add", Op::Add, &[conv, input]);
    let (graph, remarks) = after(&hand, fuse_residual_add);
    assert_eq!((graph.len(), remarks.len()), (2, 0));
    assert!(graph.node(conv).op.epilogue().residual);
    assert_eq!(graph.inputs(conv), [input, input]);

    hand.op("more", Op::Add, &[add, conv]);
    let (_, remarks) = after(&hand, fuse_residual_add);
    assert_eq!(
        remarks,
        ["add: not fused: conv is also read by more", "more: not fused: add is not a dense convolution"]
    );

    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    hand.op("add", Op::Add, &[conv, conv]);
    untouched(&hand, fuse_residual_add, "add: not fused: it reads conv twice");

    // An epilogue adds once.
    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    let add = hand.op("add", Op::Add, &[conv, input]);
    hand.op("again", Op::Add, &[add, input]);
    let (graph, remarks) = after(&hand, fuse_residual_add);
    assert_eq!((graph.len(), &*remarks), (3, &["again: not fused: conv already adds a residual".to_owned()][..]));

    let (mut hand, input) = start();
    let conv = hand.depthwise("conv", input, PLAIN);
    hand.op("add", Op::Add, &[conv, input]);
    untouched(&hand, fuse_residual_add, "add: not fused: conv is not a dense convolution");
}

#[test]
fn pools_fuse_into_a_convolution_without_other_readers() {
    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, RELU6);
    let [height, width] = {
        let shape = hand.0.node(conv).tensor.shape;
        [shape.height, shape.width]
    };
    hand.op("pool", Op::GlobalAvgPool, &[conv]);
    let (graph, remarks) = after(&hand, fuse_pool);
    assert_eq!((graph.len(), remarks.len()), (2, 0));
    let (op, shape) = (&graph.node(conv).op, graph.node(conv).tensor.shape);
    assert_eq!((op.epilogue().pool, shape), (Some([height, width]), Shape::new(1, 1, 8)));
    assert_eq!(op.epilogue().unpooled(shape), Shape::new(height, width, 8));

    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, RELU6);
    let pools = ["one", "other"].map(|name| hand.op(name, Op::GlobalAvgPool, &[conv]));
    hand.op("add", Op::Add, &pools);
    let (_, remarks) = after(&hand, fuse_pool);
    assert_eq!(remarks, ["one: not fused: conv is also read by other", "other: not fused: conv is also read by one"]);

    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    let pool = hand.op("pool", Op::GlobalAvgPool, &[conv]);
    hand.0.node_mut(pool).origin.step = 1;
    untouched(&hand, fuse_pool, "pool: not fused: conv is in another step");

    let (mut hand, input) = start();
    let conv = hand.depthwise("conv", input, PLAIN);
    hand.op("pool", Op::GlobalAvgPool, &[conv]);
    untouched(&hand, fuse_pool, "pool: not fused: conv is not a dense convolution");

    let (mut hand, input) = start();
    let conv = hand.point("conv", input, 8, PLAIN);
    let add = hand.op("add", Op::Add, &[conv, input]);
    hand.op("pool", Op::GlobalAvgPool, &[add]);
    fuse_residual_add(&mut hand.0);
    untouched(&hand, fuse_pool, "pool: not fused: conv adds a residual");
}

#[test]
fn inverted_residuals_become_one_node() {
    let (mut hand, input) = start();
    let expand = hand.point("b.expand", input, 16, RELU6);
    let depthwise = hand.depthwise("b.depthwise", expand, RELU6);
    let project = hand.point("b.project", depthwise, 8, PLAIN);
    hand.op("b.add", Op::Add, &[project, input]);
    fuse_residual_add(&mut hand.0);
    let (graph, remarks) = after(&hand, fuse_inverted_residual);
    assert_eq!((graph.len(), remarks.len()), (2, 0));
    let fused = find(&graph, "b");
    assert_eq!(graph.inputs(fused), [find(&graph, "input"); 2]);
    let Op::Fused(op) = &graph.node(fused).op else { panic!("{graph}") };
    let names: Vec<&str> = op.stages.iter().map(|stage| &*stage.origin.name).collect();
    assert_eq!(names, ["b.expand", "b.depthwise", "b.project"]);
    assert!(op.stages[2].op.epilogue().residual);
}

#[test]
fn a_producer_that_cannot_be_streamed_is_copied_from() {
    let copied = |change: &dyn Fn(&mut Hand, NodeId, NodeId), why: &str| {
        let (mut hand, input) = start();
        let expand = hand.point("b.expand", input, 8, RELU6);
        let depthwise = hand.depthwise("b.depthwise", expand, RELU6);
        let project = hand.point("b.project", depthwise, 8, PLAIN);
        change(&mut hand, expand, project);
        let (graph, remarks) = after(&hand, fuse_inverted_residual);
        assert_eq!(remarks, [format!("b.depthwise: streamed from a copy of its input: {why}")]);
        let Op::Fused(op) = &graph.node(find(&graph, "b")).op else { panic!("{graph}") };
        assert!(matches!(op.stages[0].op, Op::Repack) && op.stages.len() == 3);
        assert_eq!(graph.inputs(find(&graph, "b"))[0], find(&graph, "b.expand"));
    };
    copied(
        &|hand, expand, project| {
            hand.op("b.add", Op::Add, &[expand, project]);
        },
        "b.expand is also read by b.add",
    );
    copied(
        &|hand, expand, _| {
            let Op::Conv2d(op) = &mut hand.0.node_mut(expand).op else { panic!() };
            op.epilogue = PLAIN;
        },
        "b.expand has no activation",
    );
    copied(
        &|hand, expand, _| {
            let Op::Conv2d(op) = &mut hand.0.node_mut(expand).op else { panic!() };
            op.epilogue.residual = true;
            let input = hand.0.inputs(expand)[0];
            hand.0.push_input(expand, input);
        },
        "b.expand adds a residual",
    );
    copied(
        &|hand, expand, project| {
            let depthwise = hand.0.readers(expand)[0];
            for id in [depthwise, project] {
                hand.0.node_mut(id).origin.step = 1;
            }
        },
        "b.expand is in another step",
    );
}

#[test]
fn a_depthwise_without_linear_projection_is_not_streamed() {
    let kept = |change: &dyn Fn(&mut Hand, NodeId), why: &str| {
        let (mut hand, input) = start();
        let depthwise = hand.depthwise("d", input, RELU6);
        change(&mut hand, depthwise);
        untouched(&hand, fuse_inverted_residual, &format!("d: not streamed: {why}"));
    };
    kept(&|_, _| {}, "it has no reader");
    kept(
        &|hand, depthwise| {
            hand.op("pool", Op::GlobalAvgPool, &[depthwise]);
        },
        "pool is not a convolution",
    );
    kept(
        &|hand, depthwise| {
            hand.point("p", depthwise, 8, RELU6);
        },
        "p is not linear",
    );
    kept(
        &|hand, depthwise| {
            let project = hand.point("p", depthwise, 8, PLAIN);
            hand.op("add", Op::Add, &[project, depthwise]);
        },
        "it is read by p and add",
    );
    kept(
        &|hand, depthwise| {
            let project = hand.point("p", depthwise, 8, PLAIN);
            hand.0.node_mut(project).origin.step = 1;
        },
        "p is in another step",
    );
}

#[test]
fn the_published_network_in_int8_runs_in_little_memory() {
    let bytes = |fusion: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/v2.yaml");
        let source = spec::read(path.as_ref(), "v2.yaml").expect("the repository's spec");
        let mut overrides = Overrides::none();
        overrides.set("precision", "int8").set("fusion", fusion).set("isa", "avx512vnni");
        let compiled = mbvc_compiler::compile(&source, &overrides).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        compiled.programs[0].scratch_bytes
    };
    let (block, deep) = (bytes("block"), bytes("deep"));
    assert!(block <= 400_000, "{block} bytes");
    assert!(deep < 280_000, "{deep} bytes");
}
