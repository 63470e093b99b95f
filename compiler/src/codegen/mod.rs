//! Generates Rust from the graph. The `quote!` templates look like the loop nests that they produce.

mod float;
pub mod isa;
mod kernel;
mod network;
mod prefetch;
mod quantized;
mod step;
mod tokens;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::ir::{Graph, NodeId, Op};
use crate::schedule::instructions::Predictor;
use crate::spec::NetworkSpec;
use crate::target::Isa;
use kernel::Kernels;
use network::Batch;
pub(crate) use network::facts;
pub use network::{Embedded, Form};
pub use step::{Backend, RuntimePlan};
use step::{Context, StepFn, Team};

/// Code of one network for one instruction set.
pub struct Program {
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Maximum threads of a team that runs the network.
    pub threads: usize,
    /// Graph after `plan_scratch`.
    pub graph: Graph,
    /// Bytes of the scratch.
    pub scratch_bytes: usize,
    /// Functions of the steps, in order of execution.
    pub steps: Vec<StepFn>,
    /// Predicted code size, in bytes, of an optimized program that calls the network. `None` if it has no cost model.
    pub code_bytes: Option<usize>,
    /// Batched classifier.
    pub batch: Option<Batch>,
    /// Every kernel that a step or the batch calls, without duplicates.
    pub kernels: Kernels,
    /// Offsets of the weights in the packed block.
    pub packs: Box<dyn Backend>,
    /// Place of the vector before the classifier, in elements of the scratch.
    pub embedding: std::ops::Range<usize>,
    /// Floats of the longest row outside an image.
    pub zeros: usize,
}

/// Names and paths of the generated items.
pub struct Naming {
    /// Name of the type.
    pub name: Ident,
    /// Path of the crate that re-exports the runtime's items.
    pub runtime: TokenStream,
    /// Attributes of the type, such as the user's documentation.
    pub attributes: TokenStream,
    /// Visibility of the type; empty for a private type.
    pub visibility: TokenStream,
}

impl Naming {
    /// Returns the naming of a public type without attributes. `runtime` is the path of the crate with the runtime's items.
    pub fn public(name: &str, runtime: TokenStream) -> Self {
        Self { name: format_ident!("{name}"), runtime, attributes: quote!(), visibility: quote!(pub) }
    }
}

impl Program {
    /// Returns the predicted instruction count of a call, or `None` if the network has no cost model for its instruction set.
    pub fn instructions(&self) -> Option<u64> {
        self.steps.iter().flat_map(|step| &step.stages).map(|stage| stage.instructions).sum()
    }

    /// Returns the size of the packed weights in bytes, excluding the header and the labels of a file.
    pub fn packed_bytes(&self) -> usize {
        self.with_plan(|plan| plan.lines() * size_of::<mbvc_runtime::Line>())
    }

    /// Calls `run` with the runtime's plan that packs weights for this program.
    pub fn with_plan<R>(&self, run: impl FnOnce(&dyn mbvc_runtime::Plan) -> R) -> R {
        let (mut run, mut result) = (Some(run), None);
        self.packs.with_plan(&mut |plan| result = run.take().map(|run| run(plan)));
        result.unwrap_or_else(|| unreachable!("a backend calls its argument"))
    }

    /// Generates steps and kernels of `spec`'s network from a graph that is scheduled for `isa`.
    pub fn new(graph: Graph, spec: &NetworkSpec, isa: Isa, scratch_bytes: usize) -> Self {
        let threads = spec.threads;
        let order = graph.order().unwrap_or_default();
        let packs: Box<dyn Backend> = match spec.rounding {
            None => Box::new(float::PackPlan::new(&graph, &order, isa)),
            Some(rounding) => Box::new(quantized::Plan::new(&graph, &order, isa, spec.precision, rounding)),
        };
        let predictor = Predictor::new(&graph, spec, isa);
        let context =
            Context { graph: &graph, isa, backend: &*packs, team: Team(threads), predictor: predictor.as_ref() };
        let steps: Vec<StepFn> = step_nodes(&graph, &order)
            .into_iter()
            .map(|(index, nodes)| step::step(&context, index, &step_name(&graph, &nodes), &nodes))
            .collect();
        let batch = Batch::new(&context, &order);
        let all = steps.iter().chain(batch.as_ref().map(|batch| &batch.step));
        let kernels: Kernels = all.flat_map(|step| &step.kernels).map(|k| (k.name.clone(), k.item.clone())).collect();
        // There is no batched classifier: batches require float32 or bf16.
        let calls = steps.iter().map(|step| step.kernels.len()).sum();
        let code_bytes = predictor.map(|predictor| predictor.code_bytes(kernels.len(), calls));
        let embedding = order
            .iter()
            .copied()
            .find(|id| graph.node(*id).op.pools())
            .and_then(|id| {
                let tensor = graph.node(id).tensor;
                graph.node(id).place.map(|place| (place.offset / tensor.element.bytes(), tensor.shape.elements()))
            })
            .map_or(0..0, |(at, len)| at..at + len);
        let zeros = order.iter().map(|id| longest_ring_row(&graph, *id)).max().unwrap_or(0);
        Self { isa, threads, scratch_bytes, steps, code_bytes, batch, kernels, packs, embedding, zeros, graph }
    }
}

/// Returns the nodes of each step, in order of execution.
fn step_nodes(graph: &Graph, order: &[NodeId]) -> Vec<(usize, Vec<NodeId>)> {
    let mut steps: Vec<(usize, Vec<NodeId>)> = Vec::new();
    for id in order.iter().copied().filter(|id| !matches!(graph.node(*id).op, Op::Input)) {
        let step = graph.node(id).origin.step;
        match steps.last_mut() {
            Some((last, nodes)) if *last == step => nodes.push(id),
            _ => steps.push((step, vec![id])),
        }
    }
    steps
}

/// Returns the name of a step, such as `stem+block1`, `block2` or `head`: the first parts of its operations' names.
fn step_name(graph: &Graph, nodes: &[NodeId]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for id in nodes {
        let node = graph.node(*id);
        let stages: Vec<&str> = match &node.op {
            Op::Fused(fused) => fused.stages.iter().map(|stage| &*stage.origin.name).collect(),
            _ => vec![&*node.origin.name],
        };
        for name in stages {
            let part = name.split('.').next().unwrap_or(name);
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
    }
    parts.join("+")
}

fn longest_ring_row(graph: &Graph, id: NodeId) -> usize {
    match &graph.node(id).op {
        Op::Fused(fused) => fused
            .stages
            .iter()
            .filter(|stage| stage.tensor.layout.ring.is_some())
            .map(|stage| stage.tensor.layout.row_stride(stage.tensor.shape))
            .max()
            .unwrap_or(0),
        _ => 0,
    }
}

/// Returns the whole expansion: one module of kernels per instruction set, and the type that dispatches to them.
pub fn network(spec: &NetworkSpec, programs: &[Program], naming: &Naming, embedded: Option<&Embedded>) -> TokenStream {
    network::items(spec, programs, naming, embedded)
}
