//! Values of TorchScript code: known constants, and the tensors that depend on the image.

use std::rc::Rc;

use crate::source::Constant;
use crate::text::shorten;
use crate::torch::value::Ref;

/// Extent of a tensor along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The number of images. The network computes one.
    Batch,
    Known(usize),
    /// Height or width of an image; equal numbers are equal extents.
    Image(u32),
}

/// A tensor that depends on the image.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Index of the memory that it is a view of.
    pub cell: usize,
    /// Batch, channels, height, width. Without an image: batch (unless removed), channels, and ones.
    pub shape: Rc<[Extent]>,
    /// The axis that is averaged so far, of an average in two steps.
    pub averaged: Option<usize>,
    /// If it may be a copy instead of a view, as the result of `contiguous`: the number of changes of the cell before.
    pub may_be_copy: Option<usize>,
}

impl Tensor {
    /// Returns the axis of the channels.
    pub fn channel_axis(&self) -> usize {
        usize::from(self.shape.first() == Some(&Extent::Batch))
    }

    /// Returns the number of channels.
    pub fn channels(&self) -> Option<usize> {
        match self.shape.get(self.channel_axis()) {
            Some(Extent::Known(channels)) => Some(*channels),
            _ => None,
        }
    }

    /// Whether it is an image of batch, channels, height and width.
    pub fn is_image(&self) -> bool {
        self.shape.len() == 4 && self.channel_axis() == 1
    }

    /// Whether it has one number for each channel.
    pub fn is_vector(&self) -> bool {
        let rest = self.shape.get(self.channel_axis() + 1..).unwrap_or_default();
        self.channels().is_some() && rest.iter().all(|extent| *extent == Extent::Known(1))
    }

    /// Returns the index of an axis that may be counted from the end.
    pub fn axis(&self, axis: i64) -> Option<usize> {
        let rank = self.shape.len() as i64;
        let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
        usize::try_from(axis).ok().filter(|axis| *axis < self.shape.len())
    }
}

/// A module of the archive.
#[derive(Debug, Clone)]
pub struct Module {
    pub at: Ref,
    /// Names of the attributes on the way to it.
    pub path: Rc<str>,
}

/// Elements of a list, tuple or dictionary.
#[derive(Debug, Clone)]
pub struct List<'a> {
    elements: Rc<[Value<'a>]>,
    /// Number of nested lists.
    depth: usize,
}

impl<'a> List<'a> {
    /// Returns `None` if there are too many elements or nested lists.
    pub fn new(elements: Vec<Value<'a>>) -> Option<Self> {
        const MAX_ELEMENTS: usize = 256;
        const MAX_DEPTH: usize = 8;
        let depth = 1 + elements.iter().map(Value::depth).max().unwrap_or(0);
        (elements.len() <= MAX_ELEMENTS && depth <= MAX_DEPTH).then(|| Self { elements: elements.into(), depth })
    }
}

impl<'a> std::ops::Deref for List<'a> {
    type Target = [Value<'a>];

    fn deref(&self) -> &[Value<'a>] {
        &self.elements
    }
}

#[derive(Debug, Clone)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// An extent that the file does not fix.
    Extent(Extent),
    /// A number or condition that depends on such an extent.
    Unknown,
    /// A device or layout.
    Opaque,
    /// The type of a tensor that depends on the image, float32 or float64.
    FloatType,
    List(List<'a>),
    Tuple(List<'a>),
    /// The values of a dictionary, whose keys are irrelevant.
    Dict(List<'a>),
    Module(Module),
    /// Qualified name of a function.
    Function(Rc<str>),
    Constant(Rc<Constant<'a>>),
    Tensor(Tensor),
}

impl<'a> Value<'a> {
    /// Returns the elements of a list or tuple.
    pub fn elements(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::List(elements) | Self::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::List(list) | Self::Tuple(list) | Self::Dict(list) => list.depth,
            _ => 0,
        }
    }

    /// Returns a number, also that of a constant with one element.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::Constant(constant) => constant.scalar(),
            _ => None,
        }
    }

    /// Whether it is a tensor of the file, or depends on the image.
    pub fn is_tensor(&self) -> bool {
        matches!(self, Self::Constant(_) | Self::Tensor(_))
    }

    /// Whether it depends on the image, directly or as an element.
    pub fn depends_on_image(&self) -> bool {
        match self {
            Self::Tensor(_) => true,
            Self::List(elements) | Self::Tuple(elements) | Self::Dict(elements) => {
                elements.iter().any(|element| matches!(element, Self::Tensor(_)))
            }
            _ => false,
        }
    }

    /// Whether a number depends on the size of the image.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Extent(_) | Self::Unknown => true,
            Self::List(elements) | Self::Tuple(elements) => {
                elements.iter().any(|element| matches!(element, Self::Extent(_) | Self::Unknown))
            }
            _ => false,
        }
    }

    /// Returns short text for messages.
    pub fn text(&self) -> String {
        let list = |elements: &[Value<'a>]| {
            let shown: Vec<_> = elements.iter().take(8).map(Value::short).collect();
            shown.join(", ")
        };
        match self {
            Self::List(elements) => format!("[{}]", list(elements)),
            Self::Tuple(elements) => format!("({})", list(elements)),
            _ => self.short(),
        }
    }

    fn short(&self) -> String {
        match self {
            Self::None => "None".into(),
            Self::Bool(value) => if *value { "True" } else { "False" }.into(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => format!("\"{}\"", shorten(text)),
            Self::Extent(_) | Self::Unknown => "n".into(),
            Self::Opaque | Self::FloatType => "type".into(),
            Self::List(_) | Self::Tuple(_) | Self::Dict(_) => "[...]".into(),
            Self::Module(module) => shorten(&module.path),
            Self::Function(name) => shorten(name),
            Self::Constant(_) => "constant".into(),
            Self::Tensor(_) => "x".into(),
        }
    }
}
