//! Broken graphs: the verifier finds each kind of violation, and none in the graphs that passes produce.

mod layout;
mod place;
mod postcondition;
mod structure;

use mbvc_compiler::ir::verify::{Invariant, Postcondition, Violation, verify};
use mbvc_compiler::ir::{Graph, Op, Stage};
use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{Fusion, Isa};

use crate::support::{SMALL, find, parsed, rewritten, scheduled};

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

/// Asserts that the verifier reports a violation of `invariant` at `node` with this message.
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
fn graphs_of_the_passes_are_valid() {
    assert_eq!(violations(&unfused(), &[]), []);
    assert_eq!(violations(&fused(), &REWRITTEN), []);
    assert_eq!(violations(&planned(Fusion::Block), &SCHEDULED), []);
    for fusion in [Fusion::None, Fusion::Relu6] {
        assert_eq!(violations(&planned(fusion), &SCHEDULED[5..]), []);
    }
}
