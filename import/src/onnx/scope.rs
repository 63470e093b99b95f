//! Meaning of the graph's names, while it is read in order.

use std::cell::OnceCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{proto, subgraph, tensor};
use crate::error::{ImportError, Result};
use crate::source::{Constant, DType, Holder, Holders, Node, Op, Place, Quantization, Quants, Value};
use crate::text::shorten;

pub use super::axes::Axes;
use super::axes::AxisMean;

/// Meaning of a name.
#[derive(Debug, Clone)]
pub enum Slot<'a> {
    Data {
        value: Value,
        axes: Axes,
    },
    /// Quantized integers of a value.
    Integers {
        value: Value,
        axes: Axes,
        dtype: DType,
        /// Unknown for the model's input until a node dequantizes it.
        quantization: Option<Rc<Quantization>>,
    },
    /// An initializer, read on first use, so that an unused invalid one is not an error. It is read once, because many
    /// nodes may share a tensor whose elements must be copied.
    Stored(Rc<Stored<'a>>),
    Constant(Rc<Constant<'a>>),
    /// The sizes of an activation, of which some are unknown.
    Sizes(Rc<[Option<i64>]>),
    /// Computed from shapes or constants, such as the target of a Reshape.
    Computed,
}

/// A tensor of the file, and its constant once read.
#[derive(Debug)]
pub struct Stored<'a> {
    tensor: &'a proto::Tensor,
    constant: OnceCell<Rc<Constant<'a>>>,
}

impl<'a> Stored<'a> {
    fn read(&self) -> Result<Rc<Constant<'a>>> {
        if let Some(constant) = self.constant.get() {
            return Ok(constant.clone());
        }
        let constant = Rc::new(tensor::constant(self.tensor)?);
        Ok(self.constant.get_or_init(|| constant).clone())
    }
}

impl<'a> Slot<'a> {
    pub fn stored(tensor: &'a proto::Tensor) -> Self {
        Self::Stored(Rc::new(Stored { tensor, constant: OnceCell::new() }))
    }

    /// Returns the value and the axes of an activation: floats, or the integers of an image that no node has dequantized.
    pub fn activation(&self) -> Option<(Value, Axes)> {
        match self {
            Self::Data { value, axes } | Self::Integers { value, axes, quantization: None, .. } => {
                Some((*value, *axes))
            }
            _ => None,
        }
    }

    /// Returns a slot of the same kind for another value or other axes.
    pub fn of(self, value: Value, axes: Axes) -> Self {
        match self {
            Self::Integers { dtype, quantization, .. } => Self::Integers { value, axes, dtype, quantization },
            _ => Self::Data { value, axes },
        }
    }
}

/// Names and the nodes translated so far.
pub struct Scope<'a> {
    pub opset: i64,
    /// Number of images, 1 if open.
    pub images: usize,
    pub nodes: Vec<Node<'a>>,
    pub notes: Vec<String>,
    pub quants: Quants,
    pub holders: Holders<'a>,
    /// Height, width and channels of the image, if fixed in the file.
    pub image: [Option<usize>; 3],
    /// Scale and zero point of a quantized input image.
    pub pixels: Option<(f64, i64)>,
    names: HashMap<&'a str, Slot<'a>>,
    /// Names of values after DequantizeLinear. All other names of floats refer to values that are not rounded.
    dequantized: HashSet<&'a str>,
    /// Means over one spatial axis; the other is pending.
    pub axis_means: HashMap<Value, AxisMean>,
    /// Whether values are cast to float16 or bfloat16.
    pub has_half_casts: bool,
    /// Names of sparse initializers.
    pub sparse: HashSet<&'a str>,
    /// Values that depend on an unknown operator.
    unknown: HashSet<Value>,
    values: Value,
    /// Remaining elements of computed constants.
    left: usize,
}

impl<'a> Scope<'a> {
    pub fn new(opset: i64, images: usize, most: usize) -> Self {
        Self {
            opset,
            images,
            nodes: Vec::new(),
            notes: Vec::new(),
            quants: Quants::default(),
            holders: Holders::default(),
            image: [None; 3],
            pixels: None,
            names: HashMap::new(),
            dequantized: HashSet::new(),
            axis_means: HashMap::new(),
            has_half_casts: false,
            sparse: HashSet::new(),
            unknown: HashSet::new(),
            values: 0,
            left: most,
        }
    }

    pub fn fresh(&mut self) -> Value {
        self.values += 1;
        self.values - 1
    }

    /// Binds a name.
    ///
    /// # Errors
    /// If the name is bound: names are assigned once.
    pub fn bind(&mut self, name: &'a str, slot: Slot<'a>) -> Result<()> {
        match self.names.entry(name) {
            Entry::Vacant(entry) => {
                if let Slot::Data { value, axes } | Slot::Integers { value, axes, .. } = slot {
                    let is_integers = matches!(slot, Slot::Integers { .. });
                    let holder = Holder { name: name.into(), index: None, layout: axes.layout() };
                    self.holders.add(value, is_integers, holder);
                }
                entry.insert(slot);
                Ok(())
            }
            Entry::Occupied(_) => {
                Err(ImportError::malformed(format!("the name '{}' is assigned twice", shorten(name))))
            }
        }
    }

    /// Returns the meaning of a name, if it is bound.
    pub fn named(&self, name: &str) -> Option<&Slot<'a>> {
        self.names.get(name)
    }

    /// Returns input `at` of the node; `None` if it is omitted.
    pub fn slot(&self, node: &'a proto::Node, at: usize) -> Result<Option<Slot<'a>>> {
        let Some(name) = node.input.get(at).filter(|name| !name.is_empty()) else { return Ok(None) };
        self.names.get(name.as_str()).cloned().map(Some).ok_or_else(|| {
            let name = format!("input {at}, '{}'", shorten(name));
            if self.sparse.contains(node.input[at].as_str()) {
                return ImportError::unsupported(format!("{name}, is a sparse initializer"))
                    .expected("a dense tensor")
                    .help("replace the sparse initializers with dense ones of the same names");
            }
            ImportError::malformed(format!("{name}, is not produced by an earlier node"))
        })
    }

    /// Returns the constant at input `at`; `None` if the input is omitted.
    pub fn constant(&self, node: &'a proto::Node, at: usize) -> Result<Option<Rc<Constant<'a>>>> {
        match self.slot(node, at)? {
            None => Ok(None),
            Some(Slot::Constant(constant)) => Ok(Some(constant)),
            Some(Slot::Stored(stored)) => stored.read().map(Some),
            Some(Slot::Data { .. } | Slot::Integers { .. } | Slot::Sizes(_) | Slot::Computed) => {
                Err(ImportError::unsupported(format!("input {at} is computed by the graph"))
                    .expected("a stored constant")
                    .help("fold constants first, for instance with onnxsim or onnxruntime's offline optimization"))
            }
        }
    }

    /// Returns the constant at input `at`; `None` if the input is omitted or computed.
    pub fn known(&self, node: &'a proto::Node, at: usize) -> Result<Option<Rc<Constant<'a>>>> {
        match self.slot(node, at)? {
            Some(Slot::Constant(_) | Slot::Stored(_)) => self.constant(node, at),
            _ => Ok(None),
        }
    }

    pub fn required(&self, node: &'a proto::Node, at: usize) -> Result<Rc<Constant<'a>>> {
        self.constant(node, at)?.ok_or_else(|| ImportError::malformed(format!("input {at} is missing")))
    }

    /// Returns the activation at input `at`.
    pub fn data(&self, node: &'a proto::Node, at: usize) -> Result<(Value, Axes)> {
        match self.slot(node, at)? {
            Some(Slot::Data { value, axes }) => Ok((value, axes)),
            Some(Slot::Integers { .. }) => {
                Err(ImportError::unsupported(format!("input {at} is quantized"))
                    .expected("the output of DequantizeLinear"))
            }
            Some(_) => Err(ImportError::unsupported(format!("input {at} is a constant")).expected("an activation")),
            None => Err(ImportError::malformed(format!("input {at} is missing"))),
        }
    }

    /// Returns the activation at input 0, floats or integers, of a node that only moves elements.
    pub fn moved(&self, node: &'a proto::Node) -> Result<(Value, Axes, Slot<'a>)> {
        match self.slot(node, 0)? {
            Some(slot @ Slot::Integers { value, axes, .. }) => Ok((value, axes, slot)),
            _ => self.data(node, 0).map(|(value, axes)| (value, axes, Slot::Data { value, axes })),
        }
    }

    /// Returns the activations that subgraphs of the node capture.
    pub fn captured(&self, node: &'a proto::Node) -> Vec<Value> {
        let value = |name: &str| match self.names.get(name)? {
            Slot::Data { value, .. } | Slot::Integers { value, .. } => Some(*value),
            _ => None,
        };
        subgraph::captures(node).into_iter().filter_map(value).collect()
    }

    /// Whether `value` depends on an unknown operator, which is reported later.
    pub fn is_unknown(&self, value: Value) -> bool {
        self.unknown.contains(&value)
    }

    /// Adds an operation without binding its value.
    pub fn push(&mut self, node: &'a proto::Node, op: Op<'a>, inputs: Vec<Value>) -> Value {
        let output = self.fresh();
        if matches!(op, Op::Other) || inputs.iter().any(|value| self.is_unknown(*value)) {
            self.unknown.insert(output);
        }
        for value in self.floats(node, &inputs) {
            self.quants.read_as_float(value, || place(node).text());
        }
        self.nodes.push(Node { place: place(node), op, inputs, output });
        output
    }

    /// Returns those of `values` that the node reads as floats, rather than after DequantizeLinear.
    fn floats(&self, node: &'a proto::Node, values: &[Value]) -> Vec<Value> {
        let values: HashSet<&Value> = values.iter().collect();
        let value = |name: &String| match self.names.get(name.as_str())? {
            Slot::Data { value, .. } if !self.is_dequantized(name) && values.contains(value) => Some(*value),
            _ => None,
        };
        node.input.iter().filter_map(value).collect()
    }

    /// Whether the name is that of a value after DequantizeLinear.
    pub fn is_dequantized(&self, name: &str) -> bool {
        self.dequantized.contains(name)
    }

    /// Adds an operation; its value is the node's first output.
    pub fn emit(&mut self, node: &'a proto::Node, op: Op<'a>, inputs: Vec<Value>, axes: Axes) -> Result<()> {
        let value = self.push(node, op, inputs);
        self.name(node, Slot::Data { value, axes })
    }

    /// Adds an operation on input 0 that keeps its axes.
    pub fn unary(&mut self, node: &'a proto::Node, op: Op<'a>) -> Result<()> {
        let (value, axes) = self.data(node, 0)?;
        self.emit(node, op, vec![value], axes)
    }

    /// Adds an operation of which only the inputs are known.
    pub fn other(&mut self, node: &'a proto::Node, op: Op<'a>) -> Result<()> {
        let mut inputs = Vec::new();
        for at in 0..node.input.len() {
            if let Some(Slot::Data { value, .. } | Slot::Integers { value, .. }) = self.slot(node, at)? {
                inputs.push(value);
            }
        }
        inputs.extend(self.captured(node));
        let value = self.push(node, op, inputs);
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            self.bind(name, Slot::Data { value, axes: Axes::Unknown })?;
        }
        Ok(())
    }

    /// Binds the node's first output to `slot`.
    pub fn name(&mut self, node: &'a proto::Node, slot: Slot<'a>) -> Result<()> {
        match node.output.first() {
            Some(name) => self.bind(name, slot),
            None => Err(ImportError::malformed("the node has no output")),
        }
    }

    /// Binds the node's first output to `slot`, the value of DequantizeLinear.
    pub fn name_dequantized(&mut self, node: &'a proto::Node, slot: Slot<'a>) -> Result<()> {
        self.dequantized.extend(node.output.first().map(String::as_str));
        self.name(node, slot)
    }

    /// Binds the node's first output to `slot`, with the elements of input 0.
    pub fn name_alias(&mut self, node: &'a proto::Node, slot: Slot<'a>) -> Result<()> {
        match node.input.first() {
            Some(input) if self.is_dequantized(input) => self.name_dequantized(node, slot),
            _ => self.name(node, slot),
        }
    }

    /// Counts the elements of a constant before it is computed.
    pub fn spend(&mut self, elements: usize) -> Result<()> {
        self.left = self.left.checked_sub(elements).ok_or_else(|| {
            ImportError::unsupported("the graph computes too many constants")
                .help("fold constants first, for instance with onnxsim")
        })?;
        Ok(())
    }
}

/// Returns the node's name, or that of its output if it has none.
pub fn place(node: &proto::Node) -> Place<'_> {
    let name = if node.name.is_empty() { node.output.first().unwrap_or(&node.name) } else { &node.name };
    Place { name: name.as_str().into(), operator: node.op_type.as_str().into() }
}
