//! Graphs in attributes: the branches of If, the bodies of Loop and Scan. They read names of the graph around them without
//! listing them as inputs.

use std::collections::HashSet;

use super::proto::{Graph, Node, SparseTensor};

/// Returns the names that the node reads: its inputs, and those that its subgraphs capture.
pub fn reads(node: &Node) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    names.extend(captures(node));
    names
}

/// Returns the names that the subgraphs of the node read and do not define.
pub fn captures(node: &Node) -> Vec<&str> {
    let attributes = node.attribute.iter();
    attributes
        .flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
        .flat_map(free)
        .collect()
}

/// Returns the names that a graph reads and does not define. Recursion is bounded by that of the decoder.
fn free(graph: &Graph) -> Vec<&str> {
    let mut defined: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    defined.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    defined.extend(graph.sparse_initializer.iter().map(SparseTensor::name));
    defined.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let outputs = graph.output.iter().map(|output| output.name.as_str());
    graph.node.iter().flat_map(reads).chain(outputs).filter(|name| !defined.contains(name)).collect()
}
