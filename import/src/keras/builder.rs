//! The source graph during translation of its layers.

use std::collections::{HashMap, HashSet};

use super::config::Layer;
use super::weights::Weights;
use crate::error::{ImportError, Result};
use crate::source::{MAX_NODES, Node, Op, Place, Value};

/// Types of integers that can be 0 to 255.
pub const PIXELS: [&str; 7] = ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"];

/// Whether a dtype policy is of floats.
pub fn is_float(policy: &str) -> bool {
    matches!(policy, "float32" | "float64" | "float16" | "bfloat16" | "mixed_float16" | "mixed_bfloat16")
}

/// The input image.
pub const INPUT: Value = 0;

/// An argument of a call whose tensor is available.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Value(Value),
    Numbers(Vec<f64>),
}

/// Returns the tensors among `operands`.
pub fn values(operands: &[Operand]) -> Vec<Value> {
    let values = operands.iter().filter_map(|operand| match operand {
        Operand::Value(value) => Some(*value),
        Operand::Numbers(_) => None,
    });
    values.collect()
}

/// The nodes translated so far, and the weights.
pub struct Builder<'a> {
    pub weights: Box<dyn Weights<'a> + 'a>,
    pub nodes: Vec<Node<'a>>,
    pub notes: Vec<String>,
    /// Height, width and channels of the image, if a layer records them.
    pub image: [Option<usize>; 3],
    /// Channels of each value, if known.
    channels: Vec<Option<usize>>,
    /// Whether the input is of integers, which are pixels from 0 to 255.
    pub takes_pixels: bool,
    /// Whether the image was converted from integers to floats.
    has_floats: bool,
    /// Single channels: the image and the channel.
    single: HashMap<Value, (Value, usize)>,
    /// Results of pools and reshapes that have axes between the batch and the channels.
    with_axes: HashSet<Value>,
    /// The image after the leading arithmetic.
    front: Value,
}

impl<'a> Builder<'a> {
    pub fn new(weights: Box<dyn Weights<'a> + 'a>) -> Self {
        Self {
            weights,
            nodes: Vec::new(),
            notes: Vec::new(),
            image: [None; 3],
            channels: vec![None],
            takes_pixels: false,
            has_floats: false,
            single: HashMap::new(),
            with_axes: HashSet::new(),
            front: INPUT,
        }
    }

    /// Adds an operation.
    pub fn push(&mut self, place: &Place<'a>, op: Op<'a>, inputs: Vec<Value>) -> Result<Value> {
        if self.nodes.len() >= MAX_NODES {
            return Err(
                ImportError::unsupported("the model has too many layers").expected(format!("at most {MAX_NODES}"))
            );
        }
        let output = self.channels.len();
        self.channels.push(op.channels(inputs.first().and_then(|&input| self.channels(input))));
        if matches!(op, Op::Affine(_) | Op::ReverseChannels) && inputs == [self.front] {
            self.front = output;
            self.has_floats |= matches!(op, Op::Affine(_));
        }
        self.nodes.push(Node { place: place.clone(), op, inputs, output });
        Ok(output)
    }

    /// Adds a value that is one channel of `image`.
    pub fn add_channel(&mut self, image: Value, channel: usize) -> Value {
        let value = self.channels.len();
        self.channels.push(None);
        self.single.insert(value, (image, channel));
        value
    }

    /// Returns the image and the channel of a value that is one channel.
    pub fn channel(&self, value: Value) -> Option<(Value, usize)> {
        self.single.get(&value).copied()
    }

    /// Returns the number of channels of a value, if known.
    pub fn channels(&self, value: Value) -> Option<usize> {
        self.channels.get(value).copied().flatten()
    }

    /// Adds a note unless it is present.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Records that `value`, the result of a pool or a reshape, has axes between the batch and the channels.
    pub fn keep_axes(&mut self, value: Value) {
        self.with_axes.insert(value);
    }

    /// Whether `value` is known to have the shape `[batch, channels]`: it is computed from a pool or a reshape without
    /// other axes, by operations with one input.
    pub fn is_vector(&self, mut value: Value) -> bool {
        // Producers are in order of execution.
        for node in self.nodes.iter().rev().filter(|node| matches!(*node.inputs, [_])) {
            if node.output == value {
                if matches!(node.op, Op::Pool { window: None } | Op::Flatten) {
                    return !self.with_axes.contains(&value);
                }
                value = node.inputs[0];
            }
        }
        false
    }

    /// Whether `value` is the image, possibly after arithmetic.
    pub fn is_front(&self, value: Value) -> bool {
        value == self.front
    }

    /// Whether `value` is an image of integers.
    pub fn is_of_integers(&self, value: Value) -> bool {
        self.takes_pixels && !self.has_floats && self.is_front(value)
    }

    /// Notes that the image is converted to floats.
    pub fn convert_to_floats(&mut self, value: Value) {
        self.has_floats |= self.is_front(value);
    }

    /// Learns the type of the image from the input layer of a network that is called on `value`.
    ///
    /// # Errors
    /// If the type is not of floats or pixels, or the network converts floats to integers.
    pub fn learn_type(&mut self, value: Value, layer: &Layer<'a>) -> Result<()> {
        const EXPECTED: &str = "a floating-point type, or an integer type that holds 0 to 255";
        if layer.class != "InputLayer" {
            return Ok(());
        }
        match layer.policy()? {
            None => {}
            Some(policy) if is_float(policy) => {}
            Some(policy) if PIXELS.contains(&policy) && (value == INPUT || self.is_of_integers(value)) => {
                self.takes_pixels = true;
            }
            Some(_) => return Err(layer.wrong("dtype", EXPECTED)),
        }
        Ok(())
    }

    /// Learns the shape of the image from a layer that is called on it.
    pub fn learn(&mut self, value: Value, layer: &Layer<'a>) {
        if let Some(shape) = layer.image().filter(|_| self.is_front(value)) {
            for (known, recorded) in self.image.iter_mut().zip(shape) {
                *known = known.or(recorded);
            }
        }
    }
}
