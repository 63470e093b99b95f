//! Meaning of the nodes of a graph model, while they are translated in order of execution.

use std::collections::HashMap;
use std::rc::Rc;

use super::manifest::Tensors;
use super::node::{Input, Node};
use crate::error::{ImportError, Result};
use crate::source::{self, Constant, MAX_NODES, Op, Value};
use crate::text::shorten;

/// Result of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    Data(Value),
    /// A tensor of the manifest, by number.
    Constant(usize),
    /// The shape of a value with this number of channels, if known.
    Shape(Option<usize>),
    /// Sizes computed from shapes; `None` if they depend on the input.
    Sizes(Vec<Option<i64>>),
    /// Computed from shapes or constants, and not evaluated.
    Computed,
}

/// Nodes translated so far.
pub struct Scope<'a> {
    pub tensors: &'a Tensors,
    pub nodes: Vec<source::Node<'a>>,
    slots: HashMap<&'a str, Slot>,
    /// Channels of each value, if known.
    channels: Vec<Option<usize>>,
}

impl<'a> Scope<'a> {
    pub fn new(tensors: &'a Tensors) -> Self {
        Self { tensors, nodes: Vec::new(), slots: HashMap::new(), channels: Vec::new() }
    }

    /// Returns a new value with this number of channels.
    pub fn fresh(&mut self, channels: Option<usize>) -> Value {
        self.channels.push(channels);
        self.channels.len() - 1
    }

    /// Returns the number of channels of a value, if known.
    pub fn channels(&self, value: Value) -> Option<usize> {
        self.channels.get(value).copied().flatten()
    }

    pub fn bind(&mut self, name: &'a str, slot: Slot) {
        self.slots.insert(name, slot);
    }

    /// Returns the meaning of an input. Only the first output of a node is supported.
    pub fn slot(&self, input: Input<'a>) -> Result<Slot> {
        if input.index != 0 {
            return Err(ImportError::unsupported(format!("output {} of another node is read", input.index))
                .expected("its first output")
                .found(format!("'{}'", shorten(input.node))));
        }
        self.slots.get(input.node).cloned().ok_or_else(|| {
            ImportError::malformed(format!("the input '{}' is not produced by another node", shorten(input.node)))
        })
    }

    /// Adds an operation.
    pub fn push(&mut self, node: &Node<'a>, op: Op<'a>, inputs: Vec<Value>) -> Result<Value> {
        if self.nodes.len() >= MAX_NODES {
            return Err(ImportError::unsupported("the graph has too many operations"));
        }
        let channels = op.channels(inputs.first().and_then(|&input| self.channels(input)));
        let output = self.fresh(channels);
        self.nodes.push(source::Node { place: node.place(), op, inputs, output });
        Ok(output)
    }

    /// Returns the constant of a slot.
    pub fn constant(&self, slot: &Slot) -> Result<Rc<Constant<'a>>> {
        match slot {
            Slot::Constant(number) => self.tensors.constant(*number).map(Rc::new),
            Slot::Data(_) | Slot::Shape(_) | Slot::Sizes(_) | Slot::Computed => {
                Err(ImportError::unsupported("an input is computed by the graph")
                    .expected("a stored constant")
                    .help("convert the model again: `tensorflowjs_converter` folds constants"))
            }
        }
    }

    /// Returns at most 16 integers, such as axes and paddings.
    pub fn integers(&self, slot: &Slot) -> Result<Vec<i64>> {
        const MOST: usize = 16;
        let constant = self.constant(slot)?;
        if constant.len() > MOST {
            return Err(ImportError::unsupported("too many values for axes").expected("at most two for each of 4 axes"));
        }
        Ok(constant.to_i64())
    }
}
