//! The graph as text and as a drawing, after each pass.

use insta::assert_snapshot;
use mbvc_compiler::ir::dot::dot;
use mbvc_compiler::ir::verify::{Postcondition, verify};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes::{self, LOWERED, PASSES, Target};
use mbvc_compiler::spec::{Fusion, Isa, Numerics};

use crate::support::{SMALL, parsed, rewritten, scheduled};

/// The lines of nodes and stages, without the parameters below them.
fn nodes(text: &str) -> &str {
    text.split("parameters:").next().unwrap_or(text)
}

#[test]
fn lowered() {
    assert_snapshot!(lower(&parsed(SMALL)));
}

#[test]
fn after_fold_batch_norm() {
    assert_snapshot!(rewritten(&parsed(SMALL), Fusion::Block, Some("fold_batch_norm")));
}

#[test]
fn after_fuse_activation() {
    assert_snapshot!(nodes(&rewritten(&parsed(SMALL), Fusion::Block, Some("fuse_activation")).to_string()));
}

#[test]
fn after_fuse_residual_add() {
    assert_snapshot!(nodes(&rewritten(&parsed(SMALL), Fusion::Block, Some("fuse_residual_add")).to_string()));
}

#[test]
fn after_fuse_inverted_residual() {
    assert_snapshot!(nodes(&rewritten(&parsed(SMALL), Fusion::Block, Some("fuse_inverted_residual")).to_string()));
}

#[test]
fn after_fuse_pool() {
    assert_snapshot!(nodes(&rewritten(&parsed(SMALL), Fusion::Block, Some("fuse_pool")).to_string()));
}

#[test]
fn as_a_drawing() {
    assert_snapshot!(dot(&rewritten(&parsed(SMALL), Fusion::Relu6, None)));
    assert_snapshot!(dot(&rewritten(&parsed(SMALL), Fusion::Block, None)));
}

/// The graph after one of the passes for an instruction set.
fn scheduled_up_to(pass: &str) -> String {
    let mut graph = rewritten(&parsed(SMALL), Fusion::Block, None);
    let target = Target { fusion: Fusion::Block, numerics: Numerics::Strict, isa: Isa::Avx2, threads: 1, batch: 1 };
    passes::schedule(&mut graph, target, Some(pass), &mut |_, _| {}).unwrap();
    nodes(&graph.to_string()).to_owned()
}

#[test]
fn after_assign_layouts() {
    assert_snapshot!(scheduled_up_to("assign_layouts"));
}

#[test]
fn after_assign_tiles() {
    assert_snapshot!(scheduled_up_to("assign_tiles"));
}

#[test]
fn after_plan_scratch() {
    // Without the tiles, which are in the snapshot above and change with the cost model.
    let text = scheduled_up_to("plan_scratch");
    let tile = |line: &str| Some((line.find(" tile ")?, line.find(" at ").or_else(|| line.find(" @line "))?));
    let lines = text.lines().map(|line| match tile(line) {
        Some((from, to)) => format!("{}{}", &line[..from], &line[to..]),
        None => line.to_owned(),
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_same_graph_has_the_same_text() {
    let texts = [(); 2].map(|()| scheduled(&parsed(SMALL), Fusion::Block, Isa::Avx512).to_string());
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn passes_run_in_order_and_stop_at_the_given_pass() {
    let spec = parsed(SMALL);
    let run = |fusion, up_to| {
        let mut seen = Vec::new();
        let mut graph = lower(&spec);
        passes::run(&mut graph, fusion, up_to, &mut |pass, _| seen.push(pass.to_owned())).unwrap();
        if up_to.is_none_or(|pass| PASSES[5..].contains(&pass)) {
            let target = Target { fusion, numerics: Numerics::Strict, isa: Isa::Neon, threads: 1, batch: 1 };
            passes::schedule(&mut graph, target, up_to, &mut |pass, _| seen.push(pass.to_owned())).unwrap();
        }
        seen
    };
    let all: Vec<&str> = std::iter::once(LOWERED).chain(PASSES).collect();
    assert_eq!(run(Fusion::Block, None), all);
    assert_eq!(run(Fusion::Relu6, None), [&all[..4], &all[6..]].concat());
    assert_eq!(run(Fusion::None, None), [&all[..2], &all[6..]].concat());
    assert_eq!(run(Fusion::Block, Some(LOWERED)), all[..1]);
    assert_eq!(run(Fusion::Block, Some("fuse_activation")), all[..3]);
    assert_eq!(run(Fusion::Block, Some("assign_tiles")), all[..8]);
}

#[test]
fn an_invalid_graph_is_reported_with_pass_node_and_line() {
    let graph = lower(&parsed(SMALL));
    let broken = verify(&graph, "fold_batch_norm", &[Postcondition::BatchNormFolded]).unwrap_err();
    assert_snapshot!(broken.to_string().lines().take(4).collect::<Vec<_>>().join("\n"));
}
