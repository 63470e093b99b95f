//! The operations that the outputs of a graph depend on.

use std::collections::{HashMap, HashSet};

use super::proto::{Graph, SparseTensor};
use super::scope::place;
use super::subgraph::reads;
use crate::error::{ImportError, Result};
use crate::source::{Fact, MAX_NODES, dependencies};
use crate::text::{counted, shorten};

/// Most names in a fact.
const SHOWN: usize = 4;

/// Returns the indices of the nodes that an output depends on, each after the nodes whose results it reads: in the order of
/// the file, unless tools have appended nodes to it.
///
/// # Errors
/// If the graph has no outputs, or nodes depend on each other in a circle.
pub fn live(graph: &Graph) -> Result<Vec<usize>> {
    if graph.output.len() > MAX_NODES {
        return Err(ImportError::unsupported(format!("the graph has {} outputs", graph.output.len()))
            .expected(format!("at most {MAX_NODES}")));
    }
    if graph.output.is_empty() {
        return Err(ImportError::malformed("the graph has no outputs").help("the file may be damaged; export it again"));
    }
    let mut producers = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        // An omitted output has no name.
        producers.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), at)));
    }
    let producer = |name: &str| producers.get(name).copied();
    let inputs = |at: usize| Ok(reads(&graph.node[at]).into_iter().filter_map(producer).collect());
    let cycle =
        |at: usize| ImportError::malformed("the node depends on its own result").at(place(&graph.node[at]).text());
    let roots = graph.output.iter().filter_map(|output| producer(&output.name));
    let mut order = dependencies(graph.node.len(), roots, inputs, cycle)?;
    let reads_earlier = |at: &usize| {
        let inputs = graph.node.get(*at).map(reads).unwrap_or_default();
        inputs.into_iter().filter_map(producer).all(|before| before < *at)
    };
    if order.iter().all(reads_earlier) {
        order.sort_unstable();
    }
    Ok(order)
}

/// Returns facts about nodes that no output depends on, and tensors that no node reads.
pub fn ignored(graph: &Graph, live: &[usize]) -> Vec<Fact> {
    let live: HashSet<usize> = live.iter().copied().collect();
    let others = graph.node.iter().enumerate().filter(|(at, _)| !live.contains(at));
    let nodes = (others.clone().count(), others.take(SHOWN).map(|(_, node)| place(node).text()).collect());
    let read: HashSet<&str> = graph.node.iter().flat_map(reads).collect();
    let sparse = graph.sparse_initializer.iter().map(SparseTensor::name);
    let tensors = graph.initializer.iter().map(|tensor| tensor.name.as_str()).chain(sparse);
    let tensors = tensors.filter(|name| !read.contains(name));
    let shown = tensors.clone().take(SHOWN).map(|name| format!("'{}'", shorten(name))).collect();
    let tensors = (tensors.count(), shown);
    let fact = |what: &str, (count, shown): (usize, Vec<String>), why: &str| {
        let dots = if count > SHOWN { ", …" } else { "" };
        let how = format!("{why}: {}{dots}", shown.join(", "));
        (count > 0).then(|| Fact { key: "ignored", value: counted(count, what), how })
    };
    let nodes = fact("operation", nodes, "not needed by any output");
    nodes.into_iter().chain(fact("tensor", tensors, "no operation reads")).collect()
}
