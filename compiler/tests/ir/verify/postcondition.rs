//! Postconditions of the passes.

use mbvc_compiler::ir::Graph;
use mbvc_compiler::ir::verify::{Invariant, Postcondition};
use mbvc_compiler::spec::Fusion;

use super::{SCHEDULED, found, planned, stages, unfused, violations};
use crate::support::{SMALL, find, parsed, rewritten};

#[test]
fn postconditions() {
    let unmet = |graph: &Graph, postcondition, node: &str, reason: &str| {
        found(graph, &[postcondition], Invariant::Postcondition(postcondition), node, reason);
    };
    let spec = parsed(SMALL);
    let lowered = unfused();
    unmet(&lowered, Postcondition::BatchNormFolded, "stem.bn", "was not folded");
    unmet(&lowered, Postcondition::BatchNormFolded, "stem", "has no bias");
    let folded = rewritten(&spec, Fusion::None, None);
    unmet(&folded, Postcondition::ActivationFused, "block3.depthwise.relu6", "is not fused with its convolution");
    let activated = rewritten(&spec, Fusion::Relu6, Some("fuse_activation"));
    unmet(&activated, Postcondition::ResidualFused, "block3.add", "is not fused with its convolution");
    let epilogues = rewritten(&spec, Fusion::Relu6, None);
    unmet(&epilogues, Postcondition::InvertedResidualFused, "block3.project", "is not fused with its depthwise");
    unmet(&epilogues, Postcondition::PoolFused, "head.pool", "is not fused with its convolution");
    // A separate rule checks the layouts.
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
