//! A convolution with its normalization and activation, checked against the family's layer at this place.

use mbvc_compiler::spec::MAX_CHANNELS;

use crate::error::{ImportError, Result};
use crate::source::{Affine, BatchNorm, Constant, Conv, Dense, Kernel, Node, Op, Pads, Value};
use crate::text::{display_shape, shorten};

/// The family's layer at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 3x3, from the channels of the image, activated.
    Stem,
    /// 3x3, activated.
    Depthwise,
    Pointwise {
        activated: bool,
    },
}

impl Expected {
    pub fn text(self) -> &'static str {
        match self {
            Self::Stem => "a 3x3 convolution of 3 or 1 channels with stride 1 or 2, and an activation",
            Self::Depthwise => "a 3x3 depthwise convolution with stride 1 or 2, and an activation",
            Self::Pointwise { activated: true } => "a 1x1 convolution with stride 1, and an activation",
            Self::Pointwise { activated: false } => "a 1x1 convolution with stride 1, and no activation",
        }
    }

    pub fn activated(self) -> bool {
        self != Self::Pointwise { activated: false }
    }
}

/// An operation before or after a layer that folds into it.
#[derive(Debug)]
pub enum Norm<'g> {
    BatchNorm(&'g BatchNorm<'g>),
    Affine(&'g Affine),
}

/// A layer with weights.
#[derive(Debug)]
pub struct Layer<'g> {
    /// Canonical name, such as `block2.depthwise`.
    pub role: String,
    /// Node in the source file.
    pub place: String,
    pub kernel: &'g Kernel<'g>,
    pub bias: Option<&'g Constant<'g>>,
    /// Factors of the copies of a gray image that the kernel reads. The weight sums them to one channel.
    pub copies: Option<[f64; 3]>,
    /// The dense layer before it, if no activation is between them: both are one layer.
    pub merged: Option<Box<Layer<'g>>>,
    /// Normalizations of its input, which fold into the weight; only layers after the pool have any.
    pub before: Vec<Norm<'g>>,
    /// Normalizations of its output.
    pub norms: Vec<Norm<'g>>,
    /// `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, classifier `[in, out]`.
    pub shape: Vec<usize>,
    pub stride: usize,
    /// Whether it has an activation, possibly implied by its quantized range.
    pub activated: bool,
    /// Outputs of the convolution, of each normalization and of each step of the activation.
    pub steps: Vec<Value>,
}

impl Layer<'_> {
    /// Returns the activated output.
    pub fn output(&self) -> Option<Value> {
        self.steps.last().copied()
    }

    pub fn out_channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }
}

/// Checks kind, kernel, stride, dilation and channels of a convolution; returns its canonical shape and stride.
pub fn check(node: &Node<'_>, conv: &Conv<'_>, expected: Expected, channels: usize) -> Result<(Vec<usize>, usize)> {
    let wrong = |problem: &str| {
        ImportError::unsupported(problem).at(node.place.text()).expected(expected.text()).found(describe(node))
    };
    let shape = conv.kernel.shape();
    let &[height, width, per_group, out] = shape.as_slice() else {
        return Err(wrong("expected 4 dimensions of the weight"));
    };
    let depthwise = per_group == 1 && conv.groups == out && out == channels && channels > 1;
    let window = if matches!(expected, Expected::Pointwise { .. }) { 1 } else { 3 };
    if depthwise != (expected == Expected::Depthwise) || (!depthwise && conv.groups != 1) {
        return Err(wrong("unexpected kind of convolution"));
    }
    if [height, width] != [window; 2] {
        return Err(wrong("unexpected kernel size"));
    }
    let [stride, horizontal] = conv.stride;
    if stride != horizontal || stride == 0 || stride > if window == 1 { 1 } else { 2 } {
        return Err(wrong("unexpected stride"));
    }
    if conv.dilation != [1, 1] {
        return Err(wrong("a dilated convolution").help("this may be a segmentation backbone; pass a classifier"));
    }
    if !depthwise && per_group != channels {
        return Err(wrong("the weight does not match its input channels")
            .expected(format!("{channels} input channels"))
            .found(format!("{per_group}, from the weight {}", display_shape(&shape))));
    }
    if out == 0 {
        return Err(wrong("a convolution without output channels"));
    }
    if out > MAX_CHANNELS {
        return Err(wrong("a convolution with too many output channels").expected(format!("at most {MAX_CHANNELS}")));
    }
    let shape = if depthwise { vec![height, width, out] } else { shape };
    Ok((shape, stride))
}

/// Describes a node for the `found` line of an error.
pub fn describe(node: &Node<'_>) -> String {
    match &node.op {
        Op::Conv(conv) => describe_conv(conv),
        Op::Dense(Dense { kernel, .. }) => format!("a dense layer {}", display_shape(&kernel.shape())),
        Op::BatchNorm(_) => "a batch normalization".into(),
        Op::Affine(_) => "arithmetic with a constant".into(),
        Op::Clamp { low, high } => format!("an activation that clamps to [{low}, {high}]"),
        Op::Pad(_) => "a padding".into(),
        Op::ReverseChannels => "a reversal of the channels".into(),
        Op::Repeat { channels } => format!("{channels} copies of an image"),
        Op::Add => "an addition of two values".into(),
        Op::Pool { .. } => "an average pool".into(),
        Op::AxisMean => "a mean over one axis".into(),
        Op::Flatten => "a reshape".into(),
        Op::Scores(activation) => format!("a {activation}"),
        Op::Ranking => "an argmax or top-k".into(),
        Op::Other => format!("{}, an operator not used by MobileNetV2", shorten(&node.place.operator)),
    }
}

fn describe_conv(conv: &Conv<'_>) -> String {
    let shape = conv.kernel.shape();
    let [height, width, per_group, out] = shape.as_slice() else {
        return format!("a convolution with the weight {}", display_shape(&shape));
    };
    let kind = match conv.groups {
        1 => format!("{height}x{width} convolution"),
        groups if groups == *out => format!("{height}x{width} depthwise convolution"),
        groups => format!("{height}x{width} convolution in {groups} groups"),
    };
    let [vertical, horizontal] = conv.stride;
    let stride = if vertical == horizontal { vertical.to_string() } else { format!("{vertical}x{horizontal}") };
    let dilation = if conv.dilation == [1, 1] { String::new() } else { format!(", dilation {:?}", conv.dilation) };
    let inputs = per_group.saturating_mul(conv.groups);
    let pads = match conv.pads {
        Pads::Explicit(_) => "",
        Pads::Same => ", SAME padding",
        Pads::SameLower => ", SAME_LOWER padding",
    };
    format!("a {kind} with stride {stride}{dilation}{pads}, {inputs} to {out} channels")
}
