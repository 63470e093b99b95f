//! Operations of a source graph, over numbered values.

use std::borrow::Cow;
use std::rc::Rc;

use super::constant::Constant;
use mbvc_runtime::HeadActivation;

use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Index of a value.
pub type Value = usize;

/// One operation, which produces one value.
#[derive(Debug)]
pub struct Node<'a> {
    pub place: Place<'a>,
    pub op: Op<'a>,
    /// Values read; constants are in `op`.
    pub inputs: Vec<Value>,
    pub output: Value,
}

/// Name and operator of a node in the source.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub name: Cow<'a, str>,
    pub operator: Cow<'a, str>,
}

impl Place<'_> {
    /// Formats as `node 'conv5' (Conv)`, with long names shortened and control characters escaped.
    pub fn text(&self) -> String {
        format!("node '{}' ({})", shorten(&self.name), shorten(&self.operator))
    }
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
    /// Reverses the channels of an image: RGB to BGR, or back.
    ReverseChannels,
    /// Copies of an image of one channel, one for each channel of the result.
    Repeat {
        channels: usize,
    },
    /// The sum of two values.
    Add,
    /// The mean over the image, or over windows of `Some([height, width])` without padding.
    Pool {
        window: Option<[usize; 2]>,
    },
    /// Mean over one spatial axis. A second one over the other axis completes a global average pool.
    AxisMean,
    /// Converts an image of one pixel to a vector, or back.
    Flatten,
    /// The function from logits to scores.
    Scores(HeadActivation),
    /// Selects classes by score: argmax or top-k.
    Ranking,
    /// An operation not used by MobileNetV2.
    Other,
}

/// An operator of two operands, of which one is a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Minimum,
    Maximum,
}

impl Op<'_> {
    /// Returns `x operator numbers`, or `numbers operator x` if `swapped`; [`Op::Other`] if the family has no such operation.
    pub fn with_constant(operator: Arithmetic, numbers: Vec<f64>, swapped: bool) -> Self {
        use Arithmetic::{Add, Divide, Maximum, Minimum, Multiply, Subtract};
        Self::Affine(match (operator, numbers.as_slice(), swapped) {
            (Minimum, &[high], _) => return Self::Clamp { low: f64::NEG_INFINITY, high },
            (Maximum, &[low], _) => return Self::Clamp { low, high: f64::INFINITY },
            (Add, ..) => Affine::shifting(numbers),
            (Subtract, _, true) => Affine::negating(numbers),
            (Subtract, _, false) => Affine::shifting(numbers.iter().map(|x| -x).collect()),
            (Multiply, ..) => Affine::scaling(numbers),
            (Divide, _, false) => Affine::scaling(numbers.iter().map(|x| 1.0 / x).collect()),
            _ => return Self::Other,
        })
    }

    /// Returns the channels of the result, if known, from those of the input.
    pub fn channels(&self, input: Option<usize>) -> Option<usize> {
        match self {
            Self::Conv(Conv { kernel, .. }) | Self::Dense(Dense { kernel, .. }) => kernel.shape().last().copied(),
            Self::Repeat { channels } => Some(*channels),
            _ => input,
        }
    }

    /// A reshape of one pixel with these channels to `sizes`, of which unknown ones are the number of images: `[-1, C]`,
    /// `[N, 1, 1, C]`.
    ///
    /// # Errors
    /// If the channels are not the last axis of the result: a softmax over that axis would be over a part of them.
    pub fn reshape(sizes: &[Option<i64>], channels: Option<usize>) -> Result<Self> {
        let channels = channels.and_then(|channels| i64::try_from(channels).ok());
        let keeps = sizes.split_last().is_some_and(|(last, before)| {
            before.iter().all(|size| matches!(size, None | Some(-1 | 1)))
                && (*last == Some(-1) || (last.is_some() && *last == channels))
        });
        if keeps {
            return Ok(Self::Flatten);
        }
        let sizes: Vec<_> = sizes.iter().map(|size| size.map_or("?".into(), |size| size.to_string())).collect();
        Err(ImportError::unsupported("the reshape changes the channels")
            .expected(format!("one vector of {} channels", channels.map_or("all".into(), |count| count.to_string())))
            .found(format!("[{}]", sizes.join(", "))))
    }
}

/// `x * scale + offset`, with one number for all channels or one per channel.
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
    /// TensorFlow's SAME, ONNX's SAME_UPPER: the odd pixel is below and on the right.
    Same,
    /// ONNX's SAME_LOWER: the odd pixel is above and on the left.
    SameLower,
}

/// A constant read in canonical axis order.
#[derive(Debug)]
pub struct Kernel<'a> {
    pub constant: Rc<Constant<'a>>,
    /// Canonical axis -> axis of the constant. Canonical is `[kh, kw, in, out]` for a convolution
    /// (depthwise: `[kh, kw, 1, channels]`) and `[in, out]` for a dense layer.
    pub order: Vec<usize>,
    /// Factor of every value.
    pub scale: f64,
}

impl Kernel<'_> {
    /// Returns the canonical shape.
    pub fn shape(&self) -> Vec<usize> {
        self.order.iter().map(|&axis| self.constant.shape().get(axis).copied().unwrap_or(1)).collect()
    }

    /// Returns the values in canonical order.
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

/// Returns the double with the shortest decimal of `value`: 1e-5 for `9.99999974e-6`, because exporters round the
/// framework's double, such as the epsilon of a normalization, to the file's float.
pub fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
