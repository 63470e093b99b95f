//! What a reader makes of a file: operations over values, in order of execution, with weights still where they lie.
//!
//! Values are numbered; a value is made by the input or by exactly one node, before the nodes that read it
//! (readers check both), so that following readers always ends.

mod constant;
mod holder;
mod quant;

use std::borrow::Cow;
use std::rc::Rc;

pub use constant::{Constant, DType, MAX_RANK, Quantization, Values};
pub use holder::{Holder, Holders, Layout};
pub use quant::{Quantized, Quants, ValueQuant};

use mbvc_compiler::spec::{Padding, Preprocessing};
use mbvc_runtime::Framing;

use crate::error::{ImportError, Result};
use crate::format::Format;
use crate::recover::Fact;

/// More nodes than any MobileNetV2 export has; bounds the work on a hostile file.
pub const MAX_NODES: usize = 8192;

/// Index of a value.
pub type Value = usize;

/// A model as its file tells it.
#[derive(Debug)]
pub struct SourceGraph<'a> {
    pub format: Format,
    /// Who wrote the file, such as `pytorch 2.4`; may be empty.
    pub producer: String,
    pub input: Value,
    /// Height, width and channels of the image, where the file fixes them.
    pub input_shape: [Option<usize>; 3],
    /// Scale and zero point of a quantized 8-bit unsigned input.
    pub input_quantization: Option<(f64, i64)>,
    pub nodes: Vec<Node<'a>>,
    pub quants: Quants,
    /// Of formats that other engines run.
    pub holders: Holders<'a>,
    pub told: Told,
    /// What the user should know about the reading.
    pub notes: Vec<String>,
}

/// What a reader knows otherwise than from operations: by convention, or from a file beside the model.
#[derive(Debug, Default)]
pub struct Told {
    /// How the facts with these keys are known, where it is not from operations.
    pub how: Vec<(&'static str, String)>,
    /// The convention, where the geometry allows both.
    pub padding: Option<Padding>,
    /// And whether it is the model's own rather than a usual one.
    pub preprocessing: Option<(Preprocessing, bool)>,
    /// How pictures are brought to size, and whence it is known.
    pub framing: Option<(Framing, String)>,
    /// And where they are from.
    pub labels: Option<(Vec<String>, String)>,
    /// Facts beside those of the network.
    pub facts: Vec<Fact>,
}

impl Told {
    /// Says how a fact is known, whatever was said before.
    pub fn explain(&mut self, key: &'static str, how: String) {
        self.how.retain(|(known, _)| *known != key);
        self.how.push((key, how));
    }

    /// Whether the source has weights and no operations, so that conventions stand for these.
    pub fn is_weights_alone(&self) -> bool {
        self.padding.is_some()
    }

    /// How the fact is known, where it was said.
    pub fn how(&self, key: &str) -> Option<&str> {
        self.how.iter().find(|(known, _)| *known == key).map(|(_, how)| how.as_str())
    }
}

/// One operation; it makes one value.
#[derive(Debug)]
pub struct Node<'a> {
    pub place: Place<'a>,
    pub op: Op<'a>,
    /// The values read; constants are in `op`.
    pub inputs: Vec<Value>,
    pub output: Value,
}

/// The source's own name of a node, and its operator's.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub name: Cow<'a, str>,
    pub operator: Cow<'a, str>,
}

impl Place<'_> {
    /// `node 'conv5' (Conv)`; long names are shortened, control characters escaped.
    pub fn text(&self) -> String {
        format!("node '{}' ({})", shorten(&self.name), shorten(&self.operator))
    }
}

/// A name of the file, fit for a line of an error.
pub fn shorten(name: &str) -> String {
    const LONGEST: usize = 72;
    let mut text: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

#[derive(Debug)]
pub enum Op<'a> {
    Conv(Conv<'a>),
    Dense(Dense<'a>),
    BatchNorm(BatchNorm<'a>),
    Affine(Affine),
    /// `min(max(x, low), high)`: Relu, Relu6, Clip, Min, Max.
    Clamp {
        low: f64,
        high: f64,
    },
    /// Zeros around the image: top, left, bottom, right.
    Pad([usize; 4]),
    /// The sum of two values.
    Add,
    /// The mean over the image, or over windows of `Some([height, width])` without padding.
    Pool {
        window: Option<[usize; 2]>,
    },
    /// Turns an image of one pixel into a vector, or back.
    Flatten,
    Softmax,
    /// Each score for itself to 0..1; their order stays.
    Sigmoid,
    /// Picks classes from the scores: nothing follows that has weights.
    Ranking,
    /// No operation of MobileNetV2.
    Other,
}

/// `x * scale + offset`, one number for all channels or one each.
#[derive(Debug)]
pub struct Affine {
    scale: Vec<f64>,
    offset: Vec<f64>,
}

impl Affine {
    pub fn scaling(scale: Vec<f64>) -> Self {
        Self { offset: vec![0.0; scale.len()], scale }
    }

    pub fn shifting(offset: Vec<f64>) -> Self {
        Self { scale: vec![1.0; offset.len()], offset }
    }

    /// `offset - x`.
    pub fn negating(offset: Vec<f64>) -> Self {
        Self { scale: vec![-1.0; offset.len()], offset }
    }

    pub fn fits(&self, channels: usize) -> bool {
        self.scale.len() == 1 || self.scale.len() == channels
    }

    pub fn scale(&self, channel: usize) -> Option<f64> {
        self.scale.get(if self.scale.len() == 1 { 0 } else { channel }).copied()
    }

    pub fn offset(&self, channel: usize) -> Option<f64> {
        self.offset.get(if self.offset.len() == 1 { 0 } else { channel }).copied()
    }
}

/// A convolution, dense (`groups` = 1) or depthwise.
#[derive(Debug)]
pub struct Conv<'a> {
    pub kernel: Kernel<'a>,
    pub bias: Option<Rc<Constant<'a>>>,
    pub groups: usize,
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub pads: Pads,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pads {
    /// Top, left, bottom, right.
    Explicit([usize; 4]),
    /// TensorFlow's SAME, ONNX's SAME_UPPER: an odd pixel goes below and to the right.
    Same,
    /// An odd pixel goes above and to the left.
    SameLower,
}

/// A constant read in canonical axis order.
#[derive(Debug)]
pub struct Kernel<'a> {
    pub constant: Rc<Constant<'a>>,
    /// Canonical axis -> axis of the constant. Canonical is `[kh, kw, in, out]` for a convolution
    /// (depthwise: `[kh, kw, 1, channels]`) and `[in, out]` for a dense layer.
    pub order: Vec<usize>,
    /// Multiplies every value.
    pub scale: f64,
}

impl Kernel<'_> {
    /// Canonical shape.
    pub fn shape(&self) -> Vec<usize> {
        self.order.iter().map(|&axis| self.constant.shape().get(axis).copied().unwrap_or(1)).collect()
    }

    /// The values in canonical order.
    pub fn values(&self) -> Vec<f64> {
        let mut values = self.constant.permuted(&self.order);
        if self.scale != 1.0 {
            values.iter_mut().for_each(|value| *value *= self.scale);
        }
        values
    }
}

/// `y = x * weight + bias`.
#[derive(Debug)]
pub struct Dense<'a> {
    pub kernel: Kernel<'a>,
    pub bias: Option<Rc<Constant<'a>>>,
}

/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` per channel.
#[derive(Debug)]
pub struct BatchNorm<'a> {
    pub gamma: Rc<Constant<'a>>,
    pub beta: Rc<Constant<'a>>,
    pub mean: Rc<Constant<'a>>,
    pub variance: Rc<Constant<'a>>,
    pub epsilon: f64,
}

/// The double whose shortest decimal is that of `value`: 1e-5 where a file says `9.99999974e-6`,
/// because exporters round a double of the framework to a float of the file.
pub fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Product of dimensions, or an error.
pub fn elements(shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .ok_or_else(|| ImportError::malformed(format!("the shape {} overflows", display_shape(shape))))
}

/// `3x3x32x1`.
pub fn display_shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".into();
    }
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
