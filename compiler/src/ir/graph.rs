//! The graph. petgraph is private to this file.

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use super::{Node, Op, Param, ParamId, Quant};

/// Identifies a node; stays valid while other nodes are added and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NodeIndex);

impl NodeId {
    /// Unique in the graph; indices of removed nodes may be reused.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// A directed acyclic graph of nodes; an edge carries the input slot of its reader.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: StableDiGraph<Node, usize>,
    params: Vec<Param>,
}

impl Graph {
    /// Adds a node that reads `inputs`, by slot.
    pub fn add(&mut self, node: Node, inputs: &[NodeId]) -> NodeId {
        let id = self.nodes.add_node(node);
        for (slot, input) in inputs.iter().enumerate() {
            self.nodes.add_edge(input.0, id, slot);
        }
        NodeId(id)
    }

    /// The node.
    ///
    /// # Panics
    /// If the node has been removed.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node, mutably.
    ///
    /// # Panics
    /// If the node has been removed.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// The inputs of a node, by slot.
    pub fn inputs(&self, id: NodeId) -> Vec<NodeId> {
        self.slots(id).into_iter().map(|(_, source)| source).collect()
    }

    /// The inputs of a node with their slots, which in an invalid graph may be missing or duplicate.
    pub(crate) fn slots(&self, id: NodeId) -> Vec<(usize, NodeId)> {
        let mut slots: Vec<_> =
            self.nodes.edges_directed(id.0, Direction::Incoming).map(|e| (*e.weight(), NodeId(e.source()))).collect();
        slots.sort();
        slots
    }

    /// All nodes in order of insertion, also of a cyclic graph.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.node_indices().map(NodeId)
    }

    /// The readers of the node's value, once per slot, in order of insertion.
    pub fn readers(&self, id: NodeId) -> Vec<NodeId> {
        let mut readers: Vec<_> = self.nodes.neighbors_directed(id.0, Direction::Outgoing).map(NodeId).collect();
        readers.sort();
        readers
    }

    /// The node during which `id` finishes: itself, or its reader if it produces its rows on demand.
    pub fn ends_with(&self, id: NodeId) -> NodeId {
        match (self.node(id).tensor.layout.ring, &self.readers(id)[..]) {
            (Some(_), [reader]) => *reader,
            _ => id,
        }
    }

    /// The node during which `id` begins: itself, or its input if that produces its rows on demand.
    pub fn begins_with(&self, id: NodeId) -> NodeId {
        let producer = self.inputs(id).first().copied();
        producer.filter(|producer| self.ends_with(*producer) == id).unwrap_or(id)
    }

    /// Replaces `old` by `new` in the inputs of `reader`.
    pub fn redirect(&mut self, reader: NodeId, old: NodeId, new: NodeId) {
        let edges: Vec<_> = self.nodes.edges_connecting(old.0, reader.0).map(|e| (e.id(), *e.weight())).collect();
        for (edge, slot) in edges {
            self.nodes.remove_edge(edge);
            self.nodes.add_edge(new.0, reader.0, slot);
        }
    }

    /// Replaces `old` by `new` in the inputs of every reader, and removes `old`.
    pub fn replace(&mut self, old: NodeId, new: NodeId) {
        for reader in self.readers(old) {
            if reader != new {
                self.redirect(reader, old, new);
            }
        }
        self.nodes.remove_node(old.0);
    }

    /// Adds `input` as the last input of `id`.
    pub fn push_input(&mut self, id: NodeId, input: NodeId) {
        let slot = self.inputs(id).len();
        self.nodes.add_edge(input.0, id.0, slot);
    }

    /// Removes a node and the edges to and from it.
    pub fn remove(&mut self, id: NodeId) {
        self.nodes.remove_node(id.0);
    }

    /// Number of nodes; the stages of a fused node count as one.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether the graph has no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nodes in order of execution, deterministic; `None` if there is a cycle.
    pub fn order(&self) -> Option<Vec<NodeId>> {
        let mut pending: Vec<(NodeIndex, usize)> = self
            .nodes
            .node_indices()
            .map(|id| (id, self.nodes.edges_directed(id, Direction::Incoming).count()))
            .collect();
        let mut order = Vec::with_capacity(pending.len());
        // By step, then by insertion: a new node of a pass takes the position of the nodes it replaced.
        while !pending.is_empty() {
            let ready = pending
                .iter()
                .enumerate()
                .filter(|(_, (_, missing))| *missing == 0)
                .min_by_key(|(_, (id, _))| (self.nodes[*id].origin.step, *id))
                .map(|(at, _)| at)?;
            let (id, _) = pending.swap_remove(ready);
            order.push(NodeId(id));
            for reader in self.nodes.neighbors_directed(id, Direction::Outgoing) {
                if let Some(entry) = pending.iter_mut().find(|(other, _)| *other == reader) {
                    entry.1 -= 1;
                }
            }
        }
        Some(order)
    }

    /// Adds a parameter. Parameters are never removed.
    pub fn add_param(&mut self, param: Param) -> ParamId {
        self.params.push(param);
        ParamId(self.params.len() - 1)
    }

    /// The parameter.
    ///
    /// # Panics
    /// If the parameter belongs to another graph.
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }

    /// The parameter, if the graph has it.
    pub fn get_param(&self, id: ParamId) -> Option<&Param> {
        self.params.get(id.0)
    }

    /// The parameters that operations read, each once, in order of execution, without the sources of folded ones.
    pub fn used_params(&self) -> Vec<ParamId> {
        let order = self.order().unwrap_or_else(|| self.ids().collect());
        let mut used = Vec::new();
        let of_node = |id| {
            let Node { op, tensor, .. } = self.node(id);
            let stages = match op {
                Op::Fused(fused) => &*fused.stages,
                _ => &[],
            };
            let values = stages.iter().map(|stage| stage.tensor).chain([*tensor]);
            let quants = values.filter_map(|tensor| tensor.quant).flat_map(Quant::params);
            op.params().into_iter().chain(quants).collect::<Vec<_>>()
        };
        for id in order.into_iter().flat_map(of_node) {
            if !used.contains(&id) {
                used.push(id);
            }
        }
        used
    }

    /// All parameters in order of insertion, including unused ones.
    pub fn params(&self) -> impl Iterator<Item = (ParamId, &Param)> {
        self.params.iter().enumerate().map(|(at, param)| (ParamId(at), param))
    }
}
