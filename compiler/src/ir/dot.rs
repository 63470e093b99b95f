//! The graph for Graphviz: one cluster per step, solid edges for operands, dashed edges for residuals.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::display::{activation, numbered, operation, pool};
use super::{Graph, NodeId, Op, Origin, Tensor};

/// The graph in the DOT language. Deterministic.
pub fn dot(graph: &Graph) -> String {
    let order = numbered(graph);
    let numbers: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut steps: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for id in &order {
        steps.entry(graph.node(*id).origin.step).or_default().push(*id);
    }
    let mut text = String::from("digraph network {\n  node [shape=box, style=\"rounded,filled\", fillcolor=white];\n");
    // Writing to a string cannot fail.
    for (step, nodes) in &steps {
        let _ = writeln!(text, "  subgraph cluster_{step} {{\n    label=\"step {step}\"; style=dotted;");
        for id in nodes {
            let node = graph.node(*id);
            let lines: Vec<String> = match &node.op {
                Op::Fused(fused) => {
                    fused.stages.iter().map(|stage| label(&stage.op, &stage.origin, stage.tensor)).collect()
                }
                op => vec![label(op, &node.origin, node.tensor)],
            };
            let _ = writeln!(
                text,
                "    n{} [label=\"{}\", fillcolor={}];",
                numbers[id],
                lines.join("\\n"),
                color(&node.op)
            );
        }
        text.push_str("  }\n");
    }
    for id in &order {
        for (slot, input) in graph.inputs(*id).iter().enumerate() {
            let style = if slot == 0 { "" } else { " [style=dashed]" };
            let _ = writeln!(text, "  n{} -> n{}{style};", numbers[input], numbers[id]);
        }
    }
    text.push_str("}\n");
    text
}

fn label(op: &Op, origin: &Origin, tensor: Tensor) -> String {
    let added = if op.epilogue().residual { " add" } else { "" };
    let text = format!("{}: {}{}{added}{} : {}", origin.name, operation(op), activation(op), pool(op), tensor.shape);
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn color(op: &Op) -> &'static str {
    match op {
        Op::Input | Op::GlobalAvgPool => "white",
        Op::Conv2d(_) | Op::Dense(_) => "lightblue",
        Op::DepthwiseConv2d(_) => "moccasin",
        Op::Fused(_) => "palegreen",
        Op::BatchNorm(_) | Op::Activation(_) | Op::Add => "gray92",
        Op::Repack => "lightpink",
    }
}
