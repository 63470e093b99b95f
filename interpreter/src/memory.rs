//! Storage of values: in the scratch if they have a place, otherwise in separate memory.

use std::collections::BTreeMap;

use mbvc_compiler::ir::{Fused, Graph, NodeId, Op, Place, Tensor};

use super::real::Number;

pub struct Memory<'g, T> {
    graph: &'g Graph,
    /// Bytes of the smallest element: the scratch has one number for as many bytes.
    bytes: usize,
    scratch: Vec<T>,
    own: BTreeMap<NodeId, Vec<T>>,
    /// Remaining reads of each value; values in separate memory are dropped at 0.
    unread: BTreeMap<NodeId, usize>,
}

impl<'g, T: Number> Memory<'g, T> {
    pub fn new(graph: &'g Graph) -> Self {
        let bytes = graph.ids().map(|id| graph.node(id).tensor.element.bytes()).min().unwrap_or(1);
        let inner = |op: &'g Op| match op {
            Op::Fused(fused) => &*fused.stages,
            _ => &[],
        };
        let places = graph.ids().flat_map(|id| {
            let node = graph.node(id);
            inner(&node.op).iter().filter_map(|stage| stage.place).chain(node.place)
        });
        let room = places.map(|place| elements(place, bytes).end).max().unwrap_or(0);
        let unread = graph.ids().map(|id| (id, graph.readers(id).len())).collect();
        Self { graph, bytes, scratch: vec![T::POISON; room], own: BTreeMap::new(), unread }
    }

    /// Stores the NHWC `values` of node `id`, and drops values without remaining reads.
    pub fn write(&mut self, id: NodeId, values: Vec<T>) {
        let node = self.graph.node(id);
        match node.place {
            Some(place) => {
                // The previous value of these bytes is dead; an operation in place has read it.
                self.scratch[elements(place, self.bytes)].fill(T::POISON);
                let Tensor { shape, layout, element, .. } = node.tensor;
                let element = element.bytes();
                for (pixel, values) in values.chunks_exact(shape.channels).enumerate() {
                    for (c, value) in values.iter().enumerate() {
                        let offset = layout.offset(shape, pixel / shape.width, pixel % shape.width, c);
                        self.scratch[(place.offset + offset * element) / self.bytes] = *value;
                    }
                }
            }
            None => {
                self.own.insert(id, values);
            }
        }
        for input in self.graph.inputs(id) {
            let left = self.unread.get(&input).map_or(0, |left| left.saturating_sub(1));
            self.unread.insert(input, left);
            if left == 0 {
                self.own.remove(&input);
            }
        }
    }

    /// The NHWC values of node `id`.
    pub fn read(&self, id: NodeId) -> Vec<T> {
        let node = self.graph.node(id);
        let Some(place) = node.place else { return self.own.get(&id).cloned().unwrap_or_default() };
        let Tensor { shape, layout, element, .. } = node.tensor;
        let element = element.bytes();
        let mut values = Vec::with_capacity(shape.elements());
        for pixel in 0..shape.pixels() {
            for c in 0..shape.channels {
                let offset = layout.offset(shape, pixel / shape.width, pixel % shape.width, c);
                values.push(self.scratch[(place.offset + offset * element) / self.bytes]);
            }
        }
        values
    }

    /// Overwrites the places of the stages, as streaming would.
    pub fn poison(&mut self, fused: &Fused) {
        for place in fused.stages.iter().filter_map(|stage| stage.place) {
            self.scratch[elements(place, self.bytes)].fill(T::POISON);
        }
    }
}

/// The elements of the scratch at a place.
fn elements(place: Place, bytes: usize) -> std::ops::Range<usize> {
    place.offset / bytes..(place.offset + place.bytes) / bytes
}
