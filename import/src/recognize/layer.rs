//! A convolution with what follows it up to its activation, checked against what the family has at its place.

use mbvc_compiler::spec::MAX_CHANNELS;

use crate::error::{ImportError, Result};
use crate::source::{Affine, BatchNorm, Constant, Conv, Dense, Kernel, Node, Op, Pads, Value};
use crate::text::{display_shape, shorten};

/// What the family has at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// 3x3, from 3 channels, activated.
    Stem,
    /// 3x3, activated.
    Depthwise,
    Pointwise {
        activated: bool,
    },
}

impl Want {
    pub fn text(self) -> &'static str {
        match self {
            Self::Stem => "a 3x3 convolution of 3 channels with stride 1 or 2, and an activation",
            Self::Depthwise => "a 3x3 depthwise convolution with stride 1 or 2, and an activation",
            Self::Pointwise { activated: true } => "a 1x1 convolution with stride 1, and an activation",
            Self::Pointwise { activated: false } => "a 1x1 convolution with stride 1, and no activation",
        }
    }

    pub fn activated(self) -> bool {
        self != Self::Pointwise { activated: false }
    }
}

/// What follows a convolution and folds into it.
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
    /// The source's own name.
    pub place: String,
    pub kernel: &'g Kernel<'g>,
    pub bias: Option<&'g Constant<'g>>,
    pub norms: Vec<Norm<'g>>,
    /// `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, classifier `[in, out]`.
    pub shape: Vec<usize>,
    pub stride: usize,
    /// Whether it ends with an activation, be it the range of its quantized values.
    pub activated: bool,
    /// What the convolution, each normalization and each step of the activation makes, in this order.
    pub steps: Vec<Value>,
}

impl Layer<'_> {
    /// What it makes, activated.
    pub fn output(&self) -> Option<Value> {
        self.steps.last().copied()
    }

    pub fn out_channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }
}

/// Checks kind, kernel, stride, dilation and channels of a convolution; gives the canonical shape and stride.
pub fn check(node: &Node<'_>, conv: &Conv<'_>, want: Want, channels: usize) -> Result<(Vec<usize>, usize)> {
    let wrong = |problem: &str| {
        ImportError::unsupported(problem).at(node.place.text()).expected(want.text()).found(describe(node))
    };
    let shape = conv.kernel.shape();
    let &[height, width, per_group, out] = shape.as_slice() else {
        return Err(wrong("the weight has not 4 dimensions"));
    };
    let depthwise = per_group == 1 && conv.groups == out && out == channels && channels > 1;
    let window = if matches!(want, Want::Pointwise { .. }) { 1 } else { 3 };
    if depthwise != (want == Want::Depthwise) || (!depthwise && conv.groups != 1) {
        return Err(wrong("a convolution of another kind than MobileNetV2 has here"));
    }
    if [height, width] != [window; 2] {
        return Err(wrong("a convolution with another kernel than MobileNetV2 has here"));
    }
    let [stride, horizontal] = conv.stride;
    if stride != horizontal || stride == 0 || stride > if window == 1 { 1 } else { 2 } {
        return Err(wrong("a convolution with another stride than MobileNetV2 has here"));
    }
    if conv.dilation != [1, 1] {
        return Err(wrong("a dilated convolution").help("segmentation backbones dilate; give a classifier"));
    }
    if !depthwise && per_group != channels {
        return Err(wrong("the weight does not fit the channels that reach it")
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

/// What a node does, for the line that says what was found.
pub fn describe(node: &Node<'_>) -> String {
    match &node.op {
        Op::Conv(conv) => describe_conv(conv),
        Op::Dense(Dense { kernel, .. }) => format!("a fully connected layer {}", display_shape(&kernel.shape())),
        Op::BatchNorm(_) => "a batch normalization".into(),
        Op::Affine(_) => "arithmetic with a constant".into(),
        Op::Clamp { low, high } => format!("an activation that clamps to [{low}, {high}]"),
        Op::Pad(_) => "a padding".into(),
        Op::Add => "an addition of two values".into(),
        Op::Pool { .. } => "an average pool".into(),
        Op::Flatten => "a reshape".into(),
        Op::Softmax => "a softmax".into(),
        Op::Sigmoid => "a sigmoid".into(),
        Op::Ranking => "a ranking of classes".into(),
        Op::Other => format!("{}, an operator that MobileNetV2 has not", shorten(&node.place.operator)),
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
