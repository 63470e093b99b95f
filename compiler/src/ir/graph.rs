//! The graph itself. petgraph is private to this file.

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use super::{Node, Op, Param, ParamId, Quant};

/// Names a node; stays valid while other nodes come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NodeIndex);

impl NodeId {
    /// A number that no other node of the graph has; numbers of removed nodes may be given again.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// A directed acyclic graph of nodes; an edge carries the input slot that it feeds.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: StableDiGraph<Node, usize>,
    params: Vec<Param>,
}

impl Graph {
    /// Adds a node that reads `inputs`, by slot, and names it.
    pub fn add(&mut self, node: Node, inputs: &[NodeId]) -> NodeId {
        let id = self.nodes.add_node(node);
        for (slot, input) in inputs.iter().enumerate() {
            self.nodes.add_edge(input.0, id, slot);
        }
        NodeId(id)
    }

    /// The node of that name.
    ///
    /// # Panics
    /// If the node has been removed.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node of that name, to change.
    ///
    /// # Panics
    /// If the node has been removed.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// What the node reads, by slot.
    pub fn inputs(&self, id: NodeId) -> Vec<NodeId> {
        self.slots(id).into_iter().map(|(_, source)| source).collect()
    }

    /// What the node reads, with the slots as they are: in a broken graph some are missing or taken twice.
    pub(crate) fn slots(&self, id: NodeId) -> Vec<(usize, NodeId)> {
        let mut slots: Vec<_> =
            self.nodes.edges_directed(id.0, Direction::Incoming).map(|e| (*e.weight(), NodeId(e.source()))).collect();
        slots.sort();
        slots
    }

    /// All nodes by age, in no order of execution: for graphs that may have none.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.node_indices().map(NodeId)
    }

    /// Who reads the node's value, once per reading slot, in order of node.
    pub fn readers(&self, id: NodeId) -> Vec<NodeId> {
        let mut readers: Vec<_> = self.nodes.neighbors_directed(id.0, Direction::Outgoing).map(NodeId).collect();
        readers.sort();
        readers
    }

    /// The node during whose turn `id` ends its work: itself, or the one for whom it makes its rows as they are wanted.
    pub fn ends_with(&self, id: NodeId) -> NodeId {
        match (self.node(id).tensor.layout.ring, &self.readers(id)[..]) {
            (Some(_), [reader]) => *reader,
            _ => id,
        }
    }

    /// Lets `reader` read `new` wherever it read `old`.
    pub fn redirect(&mut self, reader: NodeId, old: NodeId, new: NodeId) {
        let edges: Vec<_> = self.nodes.edges_connecting(old.0, reader.0).map(|e| (e.id(), *e.weight())).collect();
        for (edge, slot) in edges {
            self.nodes.remove_edge(edge);
            self.nodes.add_edge(new.0, reader.0, slot);
        }
    }

    /// Lets every reader of `old` read `new` instead, and removes `old`.
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

    /// How many nodes there are, stages of fused nodes not counted.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nodes in order of execution; the same for the same graph. `None` if there is a cycle.
    pub fn order(&self) -> Option<Vec<NodeId>> {
        let mut pending: Vec<(NodeIndex, usize)> = self
            .nodes
            .node_indices()
            .map(|id| (id, self.nodes.edges_directed(id, Direction::Incoming).count()))
            .collect();
        let mut order = Vec::with_capacity(pending.len());
        // Step first, then age: a node that a pass made anew takes the place of those it replaced.
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

    /// Adds a parameter, and names it. Parameters are never removed.
    pub fn add_param(&mut self, param: Param) -> ParamId {
        self.params.push(param);
        ParamId(self.params.len() - 1)
    }

    /// The parameter of that name.
    ///
    /// # Panics
    /// If the parameter is of another graph.
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }

    /// The parameter, if the graph has it.
    pub fn get_param(&self, id: ParamId) -> Option<&Param> {
        self.params.get(id.0)
    }

    /// The parameters that operations read, each once, in order of execution; not those that others are folded from.
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

    /// All parameters in the order in which they were added, those that no operation reads included.
    pub fn params(&self) -> impl Iterator<Item = (ParamId, &Param)> {
        self.params.iter().enumerate().map(|(at, param)| (ParamId(at), param))
    }
}
