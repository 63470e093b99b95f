//! What the names of the graph stand for while it is read from front to back.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::proto;
use super::tensor;
use crate::error::{ImportError, Result};
use crate::source::{Constant, DType, Holder, Holders, Node, Op, Place, Quantization, Quants, Value};
use crate::text::shorten;

pub use crate::source::Layout;

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Slot<'a> {
    Data {
        value: Value,
        layout: Layout,
    },
    /// Integers that stand for a value's numbers.
    Integers {
        value: Value,
        layout: Layout,
        dtype: DType,
        /// Unknown for the model's input, until a node dequantizes it.
        stands_for: Option<Rc<Quantization>>,
    },
    /// An initializer, read when somebody looks at it, so that an odd one that is never used does no harm. It is read
    /// once, for many nodes may share a tensor whose elements have to be copied.
    Stored(Rc<Stored<'a>>),
    Constant(Rc<Constant<'a>>),
    /// Computed from shapes or constants alone, such as the target of a Reshape.
    Computed,
}

/// A tensor of the file, and the constant once it was read.
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

    /// The same kind of numbers as another value, or in another layout.
    pub fn of(self, value: Value, layout: Layout) -> Self {
        match self {
            Self::Integers { dtype, stands_for, .. } => Self::Integers { value, layout, dtype, stands_for },
            _ => Self::Data { value, layout },
        }
    }
}

/// Names, and the nodes made so far.
pub struct Scope<'a> {
    pub opset: i64,
    pub nodes: Vec<Node<'a>>,
    pub notes: Vec<String>,
    pub quants: Quants,
    pub holders: Holders<'a>,
    /// Scale and zero point of an input of pixels.
    pub pixels: Option<(f64, i64)>,
    names: HashMap<&'a str, Slot<'a>>,
    values: Value,
    /// Elements of constants that reading may still make.
    left: usize,
}

impl<'a> Scope<'a> {
    pub fn new(opset: i64, most: usize) -> Self {
        Self {
            opset,
            nodes: Vec::new(),
            notes: Vec::new(),
            quants: Quants::default(),
            holders: Holders::default(),
            pixels: None,
            names: HashMap::new(),
            values: 0,
            left: most,
        }
    }

    pub fn fresh(&mut self) -> Value {
        self.values += 1;
        self.values - 1
    }

    /// # Errors
    /// If the name is taken: names are assigned once.
    pub fn bind(&mut self, name: &'a str, slot: Slot<'a>) -> Result<()> {
        match self.names.entry(name) {
            Entry::Vacant(entry) => {
                if let Slot::Data { value, layout } | Slot::Integers { value, layout, .. } = slot {
                    let is_integers = matches!(slot, Slot::Integers { .. });
                    self.holders.add(value, is_integers, Holder { name: name.into(), index: None, layout });
                }
                entry.insert(slot);
                Ok(())
            }
            Entry::Occupied(_) => Err(ImportError::malformed(format!("the name '{}' is made twice", shorten(name)))),
        }
    }

    /// What input `at` of the node is; `None` if it is left out.
    pub fn slot(&self, node: &'a proto::Node, at: usize) -> Result<Option<Slot<'a>>> {
        let Some(name) = node.input.get(at).filter(|name| !name.is_empty()) else { return Ok(None) };
        self.names.get(name.as_str()).cloned().map(Some).ok_or_else(|| {
            ImportError::malformed(format!("input {at} is '{}', which nothing before it makes", shorten(name)))
        })
    }

    /// The constant at input `at`; `None` if the input is left out.
    pub fn constant(&self, node: &'a proto::Node, at: usize) -> Result<Option<Rc<Constant<'a>>>> {
        match self.slot(node, at)? {
            None => Ok(None),
            Some(Slot::Constant(constant)) => Ok(Some(constant)),
            Some(Slot::Stored(stored)) => stored.read().map(Some),
            Some(Slot::Data { .. } | Slot::Integers { .. } | Slot::Computed) => {
                Err(ImportError::unsupported(format!("input {at} is computed by the graph"))
                    .expected("a stored constant")
                    .help("fold constants first, for instance with onnxsim or onnxruntime's offline optimization"))
            }
        }
    }

    pub fn required(&self, node: &'a proto::Node, at: usize) -> Result<Rc<Constant<'a>>> {
        self.constant(node, at)?.ok_or_else(|| ImportError::malformed(format!("input {at} is missing")))
    }

    /// The activation at input `at`.
    pub fn data(&self, node: &'a proto::Node, at: usize) -> Result<(Value, Layout)> {
        match self.slot(node, at)? {
            Some(Slot::Data { value, layout }) => Ok((value, layout)),
            Some(Slot::Integers { .. }) => {
                Err(ImportError::unsupported(format!("input {at} is quantized")).expected("floats of DequantizeLinear"))
            }
            Some(_) => Err(ImportError::unsupported(format!("input {at} is a constant")).expected("an activation")),
            None => Err(ImportError::malformed(format!("input {at} is missing"))),
        }
    }

    /// The activation at input 0 of a node that moves numbers without reading them: floats, or integers.
    pub fn moved(&self, node: &'a proto::Node) -> Result<(Value, Layout, Slot<'a>)> {
        match self.slot(node, 0)? {
            Some(slot @ Slot::Integers { value, layout, .. }) => Ok((value, layout, slot)),
            _ => self.data(node, 0).map(|(value, layout)| (value, layout, Slot::Data { value, layout })),
        }
    }

    /// Whether an operator that is not known makes `value`.
    pub fn is_of_other(&self, value: Value) -> bool {
        self.nodes.iter().any(|node| node.output == value && matches!(node.op, Op::Other))
    }

    /// Adds an operation without naming its value.
    pub fn push(&mut self, node: &'a proto::Node, op: Op<'a>, inputs: Vec<Value>) -> Value {
        let output = self.fresh();
        self.nodes.push(Node { place: place(node), op, inputs, output });
        output
    }

    /// Adds an operation; its value is the node's first output.
    pub fn emit(&mut self, node: &'a proto::Node, op: Op<'a>, inputs: Vec<Value>, layout: Layout) -> Result<()> {
        let value = self.push(node, op, inputs);
        self.name(node, Slot::Data { value, layout })
    }

    /// Lets the node's first output stand for `slot`.
    pub fn name(&mut self, node: &'a proto::Node, slot: Slot<'a>) -> Result<()> {
        match node.output.first() {
            Some(name) => self.bind(name, slot),
            None => Err(ImportError::malformed("the node has no output")),
        }
    }

    /// Counts the elements of a constant that is about to be made.
    pub fn spend(&mut self, elements: usize) -> Result<()> {
        self.left = self.left.checked_sub(elements).ok_or_else(|| {
            ImportError::unsupported("the graph computes too many constants")
                .help("fold constants first, for instance with onnxsim")
        })?;
        Ok(())
    }
}

/// The node's own name, or its output's where it has none.
pub fn place(node: &proto::Node) -> Place<'_> {
    let name = if node.name.is_empty() { node.output.first().unwrap_or(&node.name) } else { &node.name };
    Place { name: name.as_str().into(), operator: node.op_type.as_str().into() }
}
