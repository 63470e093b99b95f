//! What follows a layer's sums, wherever the fusion level leaves it: the packing estimates values from it.

use std::collections::HashMap;

use mbvc_runtime::OutputRange;

use crate::ir::{Activation, Epilogue, Graph, NodeId, Op};

/// See `PackLayer` of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    pub values: OutputRange,
    /// The layer's input is what a later layer adds.
    pub begins_residual: bool,
    pub adds_residual: bool,
}

/// The range of every layer, by the name of its kernel.
pub fn ranges(graph: &Graph, order: &[NodeId]) -> HashMap<String, Range> {
    let mut ranges: HashMap<String, Range> = HashMap::new();
    // The layer that made a value, and the one whose input it is first.
    let mut makers: HashMap<NodeId, String> = HashMap::new();
    let mut readers: HashMap<NodeId, String> = HashMap::new();
    // The value that a copy holds: whether there is one depends on the fusion level.
    let mut copied: HashMap<NodeId, NodeId> = HashMap::new();
    let source = |copied: &HashMap<NodeId, NodeId>, id: NodeId| copied.get(&id).copied().unwrap_or(id);
    for id in order {
        let node = graph.node(*id);
        let inputs = graph.inputs(*id);
        let layers = layers(graph, &node.op);
        let Some(input) = inputs.first() else { continue };
        if matches!(node.op, Op::Repack) {
            copied.insert(*id, source(&copied, *input));
        }
        for (name, epilogue) in &layers {
            let range = Range { values: values(epilogue.activation), ..Range::default() };
            ranges.insert(name.clone(), Range { adds_residual: epilogue.residual, ..range });
        }
        if let Some((first, _)) = layers.first() {
            readers.entry(source(&copied, *input)).or_insert_with(|| first.clone());
        }
        let maker = layers.last().map(|(name, _)| name).or_else(|| makers.get(input)).cloned();
        let Some(maker) = maker else { continue };
        if let Some(range) = ranges.get_mut(&maker) {
            match node.op {
                Op::Activation(activation) => range.values = values(Some(activation)),
                Op::Add => range.adds_residual = true,
                _ => {}
            }
        }
        if let Some(reader) = inputs.get(1).and_then(|residual| readers.get(&source(&copied, *residual))) {
            ranges.entry(reader.clone()).or_default().begins_residual = true;
        }
        makers.insert(*id, maker);
    }
    ranges
}

/// The layers of an operation, in order: the names of their kernels, and what they do with their sums.
fn layers(graph: &Graph, op: &Op) -> Vec<(String, Epilogue)> {
    let layer = |weight, epilogue| vec![(graph.param(weight).name.clone(), epilogue)];
    match op {
        Op::Conv2d(conv) => layer(conv.weight, conv.epilogue),
        Op::DepthwiseConv2d(conv) => layer(conv.weight, conv.epilogue),
        Op::Dense(dense) => layer(dense.weight, Epilogue::default()),
        Op::Fused(fused) => fused.stages.iter().flat_map(|stage| layers(graph, &stage.op)).collect(),
        _ => Vec::new(),
    }
}

/// The values that an activation leaves.
pub fn values(activation: Option<Activation>) -> OutputRange {
    match activation {
        None => OutputRange::Linear,
        Some(Activation::Relu) => OutputRange::Relu,
        Some(Activation::Relu6) => OutputRange::Relu6,
    }
}
