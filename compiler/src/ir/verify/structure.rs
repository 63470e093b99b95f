//! Structure of the graph: ends, edges, steps, types and parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::site::{self, Site};
use super::{Findings, Invariant};
use crate::ir::infer::{arity, output_shape, param_shapes};
use crate::ir::{Graph, NodeId, Op, ParamId, ParamSource, Shape};

/// Checks the structure; returns the order of execution of an acyclic graph.
pub fn check(graph: &Graph, found: &mut Findings) -> Option<Vec<NodeId>> {
    let order = graph.order();
    if order.is_none() {
        for id in in_cycles(graph) {
            found.at(Invariant::Acyclic, graph, id, "depends on itself");
        }
    }
    ends(graph, found);
    layers(graph, found);
    for id in graph.ids() {
        let slots = inputs(graph, id, found);
        steps(graph, id, found);
        if slots {
            types(graph, id, found);
        }
        for site in site::sites(graph, id) {
            if site.stage.is_some() {
                stage(graph, &site, found);
            }
            operands(graph, &site, found);
        }
    }
    params(graph, found);
    order
}

/// The nodes on cycles or between them: those left after removing nodes without inputs or without readers.
fn in_cycles(graph: &Graph) -> BTreeSet<NodeId> {
    let mut left: BTreeSet<NodeId> = graph.ids().collect();
    loop {
        let free = left.iter().copied().find(|id| {
            !graph.inputs(*id).iter().any(|input| left.contains(input))
                || !graph.readers(*id).iter().any(|reader| left.contains(reader))
        });
        match free {
            Some(id) => left.remove(&id),
            None => return left,
        };
    }
}

fn ends(graph: &Graph, found: &mut Findings) {
    let images: Vec<_> = graph.ids().filter(|id| matches!(graph.node(*id).op, Op::Input)).collect();
    let results: Vec<_> = graph.ids().filter(|id| graph.readers(*id).is_empty()).collect();
    for (ends, what) in [(&images, "image"), (&results, "result")] {
        match &**ends {
            [_] => {}
            [] => found.named(Invariant::Ends, "the graph", None, format!("has no {what}")),
            [_, more @ ..] => {
                for id in more {
                    found.at(Invariant::Ends, graph, *id, format!("is a second {what}"));
                }
            }
        }
    }
}

fn layers(graph: &Graph, found: &mut Findings) {
    let mut numbered: Vec<_> =
        site::all(graph).iter().filter_map(|site| Some((site.origin.layer?, site.origin.clone()))).collect();
    numbered.sort_by(|(a, left), (b, right)| (a, &left.name).cmp(&(b, &right.name)));
    for (at, (layer, origin)) in numbered.iter().enumerate() {
        if *layer != at + 1 {
            let message = format!("is layer {layer}, expected {}", at + 1);
            found.named(Invariant::Layers, &origin.name, Some(origin.line), message);
            return;
        }
    }
}

/// Checks the input slots; `true` if shapes can be inferred.
fn inputs(graph: &Graph, id: NodeId, found: &mut Findings) -> bool {
    let slots: Vec<usize> = graph.slots(id).into_iter().map(|(slot, _)| slot).collect();
    let expected: Vec<usize> = (0..arity(&graph.node(id).op)).collect();
    if slots != expected {
        found.at(Invariant::Inputs, graph, id, format!("reads slots {slots:?}, expected {expected:?}"));
    }
    slots == expected
}

fn steps(graph: &Graph, id: NodeId, found: &mut Findings) {
    let step = graph.node(id).origin.step;
    for input in graph.inputs(id) {
        let origin = &graph.node(input).origin;
        if origin.step > step {
            let message = format!("of step {step} reads {} of step {}", origin.name, origin.step);
            found.at(Invariant::Steps, graph, id, message);
        }
    }
}

fn types(graph: &Graph, id: NodeId, found: &mut Findings) {
    let node = graph.node(id);
    let shape = node.tensor.shape;
    if shape.elements() == 0 {
        found.at(Invariant::Type, graph, id, format!("produces {shape}, which is empty"));
    }
    if matches!(node.op, Op::Input) {
        return;
    }
    let inputs: Vec<Shape> = graph.inputs(id).into_iter().map(|input| graph.node(input).tensor.shape).collect();
    match output_shape(graph, &node.op, &inputs) {
        Ok(inferred) if inferred == shape => {}
        Ok(inferred) => found.at(Invariant::Type, graph, id, format!("produces {inferred}, but has type {shape}")),
        Err(why) => found.at(Invariant::Type, graph, id, why),
    }
}

/// Checks the rules of stages.
fn stage(graph: &Graph, site: &Site<'_>, found: &mut Findings) {
    let Some((fused, at)) = site.stage else { return };
    let mut report = |invariant, message: String| {
        found.named(invariant, &site.origin.name, Some(site.origin.line), message);
    };
    if site.is_inner() {
        match output_shape(graph, site.op, &site.inputs.iter().map(|input| input.shape).collect::<Vec<_>>()) {
            Ok(shape) if shape == site.output.shape => {}
            Ok(shape) => report(Invariant::Type, format!("produces {shape}, but has type {}", site.output.shape)),
            Err(why) => report(Invariant::Type, why),
        }
        if site.op.epilogue().residual {
            report(Invariant::Stages, "adds a residual, which only the last stage can".to_owned());
        }
    }
    if site.op.epilogue().pool.is_some() {
        report(Invariant::Stages, "pools, which no stage can".to_owned());
    }
    let stages = fused.stages.len();
    let expected = match stages - at {
        1 => {
            matches!(site.op, Op::Conv2d(conv) if conv.window.is_point() && conv.epilogue.activation.is_none())
        }
        2 => matches!(site.op, Op::DepthwiseConv2d(_)),
        // The producer of the ring, which reads a ring of image rows if its window has several rows.
        3 => matches!(site.op, Op::Conv2d(_) | Op::Repack),
        4 => matches!(site.op, Op::Repack) && matches!(fused.stages[at + 1].op, Op::Conv2d(_)),
        _ => false,
    };
    if !expected || stages < 3 {
        let message = format!("({}) cannot be stage {} of {stages}", site.op.name(), at + 1);
        report(Invariant::Stages, message);
    }
}

/// Checks the parameters of one operation.
fn operands(graph: &Graph, site: &Site<'_>, found: &mut Findings) {
    let Some(input) = site.inputs.first() else { return };
    for (id, expected) in param_shapes(site.op, input.shape, site.output.shape) {
        let message = match graph.get_param(id) {
            None => format!("names parameter {}, which does not exist", id.0),
            Some(param) if param.shape != expected => {
                format!("expects shape {expected:?} for {}, found {:?}", param.name, param.shape)
            }
            Some(_) => continue,
        };
        found.named(Invariant::Params, &site.origin.name, Some(site.origin.line), message);
    }
}

/// Checks the names of parameters and the shapes of their recipes.
fn params(graph: &Graph, found: &mut Findings) {
    let mut names: BTreeMap<&str, ParamId> = BTreeMap::new();
    for (id, param) in graph.params() {
        let mut report = |message: String| found.named(Invariant::Params, &param.name, None, message);
        if names.insert(&param.name, id).is_some() {
            report("is the name of two parameters".to_owned());
        }
        let vector = param.shape.last().map(|channels| vec![*channels]).unwrap_or_default();
        let sources = match &param.source {
            ParamSource::Stored => Vec::new(),
            ParamSource::FoldedWeight { weight, gamma, variance, .. } => {
                vec![(*weight, &param.shape), (*gamma, &vector), (*variance, &vector)]
            }
            ParamSource::FoldedBias { gamma, beta, mean, variance, .. } => {
                [gamma, beta, mean, variance].map(|source| (*source, &vector)).to_vec()
            }
        };
        for (source, expected) in sources {
            match graph.get_param(source) {
                None => report(format!("is folded from parameter {}, which does not exist", source.0)),
                Some(other) if other.source != ParamSource::Stored => {
                    report(format!("is folded from {}, which is folded itself", other.name));
                }
                Some(other) if other.shape != *expected => {
                    report(format!("expects shape {expected:?} for {}, found {:?}", other.name, other.shape));
                }
                Some(_) => {}
            }
        }
    }
    for (id, node) in graph.ids().map(|id| (id, graph.node(id))) {
        if let Op::Fused(fused) = &node.op {
            if fused.stages.is_empty() {
                found.at(Invariant::Stages, graph, id, "has no stage");
            }
            if fused.stages.last().is_some_and(|last| last.tensor != node.tensor) {
                found.at(Invariant::Stages, graph, id, "has a value other than that of its last stage");
            }
            if fused.stages.iter().any(|stage| stage.origin.step != node.origin.step) {
                found.at(Invariant::Stages, graph, id, "has a stage of another step");
            }
        }
    }
}
