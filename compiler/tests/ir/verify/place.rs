//! Places in the scratch.

use mbvc_compiler::ir::verify::{Invariant, Postcondition, Violation};
use mbvc_compiler::ir::{Activation, Epilogue, Graph, Op, Place, Shape};
use mbvc_compiler::passes::{self, Target};
use mbvc_compiler::spec::{Fusion, Isa, Numerics};

use super::{found, fused, planned, stages, violations};
use crate::support::{Hand, find};

#[test]
fn vectors_of_a_batch_outlive_every_call() {
    let mut graph = fused();
    let target = Target { fusion: Fusion::Block, numerics: Numerics::Strict, isa: Isa::Avx2, threads: 1, batch: 4 };
    passes::schedule(&mut graph, target, None, &mut |_, _| {}).unwrap();
    let classifier = find(&graph, "classifier");
    let place = graph.node(classifier).workspace.unwrap();
    let pooled = graph.node(graph.inputs(classifier)[0]).tensor;
    assert!(place.bytes >= 4 * pooled.elements() * 4, "{place:?}");

    // The first value is dead long before the classifier runs, but not before the batch's next image.
    let over = stages(&mut graph, "stem+block1")[0].place.unwrap();
    graph.node_mut(classifier).workspace = Some(Place { offset: over.offset, ..place });
    let overlapping = violations(&graph, &[]);
    assert!(
        overlapping.iter().any(|v| v.invariant == Invariant::Place && v.message.contains("overlaps")),
        "{overlapping:#?}"
    );

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
    found(&shifted, &[], Invariant::Place, "stem", "not aligned to a cache line");
    let small = with(Fusion::Relu6, "stem", &|place| Place { bytes: 64, ..place });
    found(&small, &[], Invariant::Place, "stem", "has 64 bytes for");

    // The image's border is read while the stem is written.
    let mut graph = planned(Fusion::Relu6);
    let over = place(&graph, "stem.border");
    let stem = find(&graph, "stem");
    let bytes = graph.node(stem).place.unwrap().bytes;
    graph.node_mut(stem).place = Some(Place { offset: over.offset, bytes, arenas: None });
    found(&graph, &[], Invariant::Place, "stem", "overlaps stem.border");

    // A residual lives until it has been added.
    let mut graph = planned(Fusion::Relu6);
    let over = place(&graph, "block2.project");
    let depthwise = find(&graph, "block3.depthwise");
    let bytes = graph.node(depthwise).place.unwrap().bytes;
    graph.node_mut(depthwise).place = Some(Place { offset: over.offset, bytes, arenas: None });
    found(&graph, &[], Invariant::Place, "block3.depthwise", "overlaps block2.project");

    // A ring lives while its node runs, together with the node's input and output, and the other stages.
    for name in ["block2", "block3"] {
        let mut graph = planned(Fusion::Block);
        let over = place(&graph, name);
        let ring = &mut stages(&mut graph, "block3")[0];
        ring.place = Some(Place { offset: over.offset, bytes: ring.place.unwrap().bytes, arenas: None });
        let violations = violations(&graph, &[]);
        let names = |v: &Violation| v.node == name || v.message.contains(name);
        assert!(violations.iter().any(|v| v.invariant == Invariant::Place && names(v)), "{name}: {violations:#?}");
    }
    let mut graph = planned(Fusion::Block);
    let stages = stages(&mut graph, "block3");
    stages[1].place = stages[0].place;
    found(&graph, &[], Invariant::Place, "block3.depthwise", "overlaps block3.expand");

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
    found(&graph, &[], Invariant::Place, "relu", "overlaps conv");
    graph.node_mut(relu).place = Some(Place { offset: 256, bytes: 256, arenas: None });
    // The add is the last to read either of its operands.
    graph.node_mut(add).place = here;
    assert_eq!(violations(&graph, &[]), []);
    // A partial overlap is not in place. Neither is an operation that is not elementwise.
    graph.node_mut(add).place = Some(Place { offset: 64, bytes: 256, arenas: None });
    found(&graph, &[], Invariant::Place, "add", "overlaps conv");

    // Neither is an operation that reads other channels or pixels.
    let mut hand = Hand::default();
    let input = hand.input(Shape::new(2, 2, 16));
    let first = hand.point("first", input, 16, Epilogue::default());
    let second = hand.point("second", first, 16, Epilogue::default());
    hand.op("pool", Op::GlobalAvgPool, &[second]);
    let mut graph = hand.0;
    graph.node_mut(first).place = here;
    graph.node_mut(second).place = here;
    found(&graph, &[], Invariant::Place, "second", "overlaps first");
}
