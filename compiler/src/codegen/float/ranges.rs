//! Operations after a layer's sums, independent of the fusion level. Packing estimates the range of values from them.

use std::collections::HashMap;

use mbvc_runtime::OutputRange;

use crate::ir::{Activation, Epilogue, Graph, NodeId, Op};

/// Range of a layer's values; see `PackLayer` of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    pub values: OutputRange,
    /// Whether a later layer adds the layer's input as its residual.
    pub begins_residual: bool,
    pub adds_residual: bool,
}

/// Returns the range of every layer, by the weight name of the layer.
pub fn ranges(graph: &Graph, order: &[NodeId]) -> HashMap<String, Range> {
    let mut ranges: HashMap<String, Range> = HashMap::new();
    // The layer that produced a value, and the first layer that reads it.
    let mut producers: HashMap<NodeId, String> = HashMap::new();
    let mut readers: HashMap<NodeId, String> = HashMap::new();
    // The original of a copied value. Whether a copy exists depends on the fusion level.
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
        let producer = layers.last().map(|(name, _)| name).or_else(|| producers.get(input)).cloned();
        let Some(producer) = producer else { continue };
        if let Some(range) = ranges.get_mut(&producer) {
            match node.op {
                Op::Activation(activation) => range.values = values(Some(activation)),
                Op::Add => range.adds_residual = true,
                _ => {}
            }
        }
        if let Some(reader) = inputs.get(1).and_then(|residual| readers.get(&source(&copied, *residual))) {
            ranges.entry(reader.clone()).or_default().begins_residual = true;
        }
        producers.insert(*id, producer);
    }
    ranges
}

/// Returns the layers of an operation in order: the names of their weights, and their epilogues.
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

/// Returns the range of values after an activation.
pub fn values(activation: Option<Activation>) -> OutputRange {
    match activation {
        None => OutputRange::Linear,
        Some(Activation::Relu) => OutputRange::Relu,
        Some(Activation::Relu6) => OutputRange::Relu6,
    }
}
