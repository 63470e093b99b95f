//! Plans of packed quantized networks: the places of each layer's parameters.
//!
//! The compiler emits a plan; [`pack`](super::pack) follows it when a model is built.

use core::ops::Range;

use super::dot_form::DotForm;
use crate::float::pack::OutputRange;
use crate::quantized::arithmetic::{Integer, Rounding};

/// A plan: the places of the parameters of each layer. All offsets and strides are in bytes.
#[derive(Debug, Clone, Copy)]
pub struct QuantPlan<'a> {
    /// Type of weights and values.
    pub integer: Integer,
    /// Rounding of the kernels.
    pub rounding: Rounding,
    /// Whether there are fast kernels: for sums with `BIAS` added, or in the rounding of the reference kernels for
    /// factors below one half.
    pub biased: bool,
    /// Quantization of the image.
    pub input: Named<'a>,
    /// Quantization of the pooled vector.
    pub embedding: Named<'a>,
    /// Quantization of the classifier's output.
    pub logits: Named<'a>,
    /// Layers in order of execution.
    pub layers: &'a [QuantLayer<'a>],
    /// Orders of channels, after all layers.
    pub orders: &'a [ChannelOrder],
    /// Cache lines of the whole block.
    pub lines: usize,
}

/// Names of the tensors that hold the quantization of a value.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Name of a tensor of one float32.
    pub scale: &'a str,
    /// Name of a tensor of one int32.
    pub zero_point: &'a str,
}

/// One layer's parameters: the names of their tensors, and their places in the block.
#[derive(Debug, Clone, Copy)]
pub struct QuantLayer<'a> {
    /// `[k][channels]` of the network's integers.
    pub weight: &'a str,
    /// Int32, `[channels]`, in steps of input scale times weight scale.
    pub bias: &'a str,
    /// Float32, `[channels]`, or `[1]` if the weights have a zero point.
    pub weight_scale: &'a str,
    /// Present if the weights have a zero point; one scale then applies to all channels.
    pub weight_zero_point: Option<&'a str>,
    /// Quantization of the input.
    pub input: Named<'a>,
    /// Quantization of the output.
    pub output: Named<'a>,
    /// Range of the results.
    pub activation: OutputRange,
    /// Quantizations of the residual and of the sum, if the layer adds a residual.
    pub add: Option<[Named<'a>; 2]>,
    /// Number of pixels that are averaged, and the quantization of the average.
    pub pool: Option<(usize, Named<'a>)>,
    /// Output channels.
    pub channels: usize,
    /// Index of the order of the input channels in the plan's orders. Otherwise they are in the container's order.
    pub inputs: Option<usize>,
    /// Index of the order of the output channels.
    pub outputs: Option<usize>,
    /// Layout of the weights of a quad.
    pub form: DotForm,
    /// Offset of the header.
    pub header: usize,
    /// Layout of the weights.
    pub matrix: Matrix<'a>,
}

/// An order of the channels between an expansion and its projection, which no other layer reads. Packing chooses it so
/// that few pairs of the projection's weights have outliers.
#[derive(Debug, Clone, Copy)]
pub struct ChannelOrder {
    /// Offset of the channel of each position, 16 bits each.
    pub at: usize,
    /// Number of channels.
    pub channels: usize,
    /// Index of the projection in the plan's layers.
    pub reader: usize,
}

/// Returns the bytes per channel of the numbers that finish its sums: a bias and a scale, or a bias, a multiplier and
/// its exponent. They are stored in rows: biases, then scales or multipliers, then exponents.
pub const fn finish_bytes(rounding: Rounding) -> usize {
    match rounding {
        Rounding::Xnnpack => 8,
        Rounding::TfliteReference => 12,
    }
}

/// Layout of a layer's weights, by the kind of its sums.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// `[runs * run][channels]`, in quads of weights along the runs.
    Dense(Taps<'a>),
    /// 3x3, for each vector of channels: the numbers that finish its sums ([`finish_bytes`]), and for each of the four
    /// positions of three rows within or between row quads, the weights of the three columns.
    Depthwise {
        /// Offset of the first vector.
        at: usize,
        /// Channels of a vector.
        lanes: usize,
        /// Number of vectors that hold all channels.
        vectors: usize,
    },
}

/// Runs of contiguous activations of a dense sum.
#[derive(Debug, Clone, Copy)]
pub struct Taps<'a> {
    /// Rows of the window.
    pub runs: usize,
    /// Weights of a run.
    pub run: usize,
    /// Quads per run, or the steps of a form with fewer products; weights past its end are zero.
    pub quads: usize,
    /// Whether each run has one more weight; the last weights of all runs are then one quad.
    pub ends: bool,
    /// Panels in order of channels.
    pub panels: &'a [PanelRun],
}

/// Panels of one shape: the numbers that finish their sums ([`finish_bytes`]), then quads of weights.
#[derive(Debug, Clone, Copy)]
pub struct PanelRun {
    /// Output channels `first..last` are packed here.
    pub first: usize,
    /// The channel after the last.
    pub last: usize,
    /// Channels of a vector.
    pub lanes: usize,
    /// Vectors of a panel.
    pub vectors: usize,
    /// Offset of the first panel.
    pub at: usize,
    /// Distance from one panel to the next.
    pub stride: usize,
}

impl QuantPlan<'_> {
    /// Returns the offset of the number of outlier rows in a vector of a depthwise layer, and the bytes from one vector
    /// to the next.
    pub(super) fn depthwise_places(&self, form: DotForm, lanes: usize) -> (usize, usize) {
        let all = form.depthwise_bytes(lanes);
        let count = lanes * finish_bytes(self.rounding) + all;
        let rows = form.outlier_rows(self.integer);
        (count, count + if rows > 0 { OUTLIER_COUNT + rows * all } else { 0 })
    }
}

/// Bytes reserved for the number of outlier rows in a vector of a depthwise layer.
pub(super) const OUTLIER_COUNT: usize = 64;

impl Taps<'_> {
    /// Returns the total number of quads of weights.
    pub(super) fn steps(&self) -> usize {
        self.runs * self.quads + usize::from(self.ends)
    }

    /// Returns the products of quad `step`, which has `depth` products, or fewer at the end of a run.
    pub(super) fn products(&self, step: usize, depth: usize) -> [Option<usize>; 4] {
        core::array::from_fn(|index| {
            let (run, tap) = match step < self.runs * self.quads {
                true => (step / self.quads, step % self.quads * depth + index),
                false => (index, self.run - 1),
            };
            (run < self.runs && tap < self.run && index < depth).then_some(run * self.run + tap)
        })
    }

    /// Returns the quads of each run, and the quad of their ends.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let (quads, steps) = (self.quads, self.steps());
        (0..self.runs + usize::from(self.ends)).map(move |run| run * quads..steps.min((run + 1) * quads))
    }
}

impl Matrix<'_> {
    /// Returns the products that are summed for one output.
    pub(super) fn k(&self) -> usize {
        match self {
            Self::Dense(taps) => taps.runs * taps.run,
            Self::Depthwise { .. } => 9,
        }
    }
}
