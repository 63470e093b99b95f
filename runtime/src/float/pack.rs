//! Packing: stores canonical weights in the order in which the kernels of one instruction set read them.
//!
//! The compiler emits the plan. Values are read once, when a model is built.

mod error;
mod fast;
mod pairs;

use core::cell::Cell;
use core::ops::Range;

use crate::formats::container::{Container, Dtype, TensorView};
use crate::numerics::Numerics;
use crate::preprocess::Preprocess;
use crate::scratch::{Line, floats_mut};

pub use error::PackError;
use fast::Estimate;

/// A plan that packs the weights of a network for one instruction set.
pub trait Plan {
    /// Returns the cache lines of the packed block.
    fn lines(&self) -> usize;

    /// Packs `weights` into `block`, allocating nothing.
    ///
    /// # Errors
    /// If a tensor is missing, or its type or size differs from the plan's.
    fn pack<'a>(
        &'a self,
        weights: &Container<'_>,
        preprocess: &Preprocess,
        numerics: Numerics,
        block: &mut [Line],
    ) -> Result<(), PackError<'a>>;

    /// Whether kernels stay within the bounds of a block that was packed elsewhere, for any values in it.
    fn is_sound(&self, block: &[Line]) -> bool;

    /// Calls `add` with everything that a packed block depends on.
    fn identify(&self, add: &mut dyn FnMut(&[u8]));
}

/// A plan: the places of the weights of each layer.
#[derive(Debug, Clone, Copy)]
pub struct PackPlan<'a> {
    /// Layers in order of execution. The range of a layer's output is estimated from the previous layers.
    pub layers: &'a [PackLayer<'a>],
    /// Cache lines of the whole block.
    pub lines: usize,
}

/// One layer's weights.
#[derive(Debug, Clone, Copy)]
pub struct PackLayer<'a> {
    /// Name of a float32 tensor, `[k][n]`.
    pub weight: &'a str,
    /// Name of a float32 tensor, `[n]`.
    pub bias: &'a str,
    /// Rows of the weight matrix: products per output.
    pub k: usize,
    /// Columns of the weight matrix: output channels.
    pub n: usize,
    /// Number types of the factors of its products.
    pub factors: Factors,
    /// Range of its output.
    pub range: OutputRange,
    /// Whether a later layer adds this one's input to its output.
    pub begins_residual: bool,
    /// Whether this layer adds the input of an earlier one.
    pub adds_residual: bool,
    /// Panels of the plain inner product, `[1 + rows][panel]`: the bias row, then the rows of the kernel; see
    /// [`Factors::rows`].
    pub panels: &'a [PackPanels],
    /// Panels of the fast inner product, `[1 + 1 + k][panel]`: a row of scales before them. They are in the same place. Empty
    /// if the kernels of the layer cannot compute it.
    pub fast: &'a [PackPanels],
}

/// Number types of the factors of products: the values that a layer reads, and its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Factors {
    /// Both as they are: float32, or quantized.
    Exact,
    /// float32 values and weights that are rounded to bf16.
    Bf16Weights,
    /// Both rounded to bf16. Products are added in pairs.
    Bf16,
}

impl Factors {
    /// Whether the weights are rounded to bf16.
    pub const fn round_weights(self) -> bool {
        !matches!(self, Self::Exact)
    }

    /// Returns the rows of a packed panel for `k` weights: two bf16 weights take the space of one float.
    pub const fn rows(self, k: usize) -> usize {
        if self.round_weights() { k.div_ceil(2) } else { k }
    }
}

/// Range of the values that a layer produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputRange {
    /// Unbounded.
    #[default]
    Linear,
    /// At least 0.
    Relu,
    /// From 0 to 6.
    Relu6,
}

/// Panels of one shape. All offsets and strides are in floats.
#[derive(Debug, Clone, Copy)]
pub struct PackPanels {
    /// Output channels `first..last` are packed here.
    pub first: usize,
    /// The channel after the last.
    pub last: usize,
    /// Channels of a panel; columns past `n` are zero.
    pub panel: usize,
    /// Offset of the first panel.
    pub at: usize,
    /// Distance from one panel to the next within a group.
    pub panel_stride: usize,
    /// Number of adjacent panels in a group.
    pub panels_per_group: usize,
    /// Distance from one group to the next; 0 if all panels are one group.
    pub group_stride: usize,
}

impl Plan for PackPlan<'_> {
    fn lines(&self) -> usize {
        self.lines
    }

    fn pack<'a>(
        &'a self,
        weights: &Container<'_>,
        preprocess: &Preprocess,
        numerics: Numerics,
        block: &mut [Line],
    ) -> Result<(), PackError<'a>> {
        if block.len() != self.lines {
            return Err(PackError::BlockSize { expected: self.lines, found: block.len() });
        }
        let block = floats_mut(block);
        let mut estimate = Estimate::of_image(preprocess);
        for layer in self.layers {
            let values = Values::new(layer, weights)?;
            if numerics == Numerics::Fast && !layer.fast.is_empty() && estimate.allows(&values) {
                for panels in layer.fast {
                    panels.fill(layer.n, block, |columns, panel| estimate.pack(&values, columns, panels.panel, panel));
                }
            } else {
                // Scales of zero: the panels are plain.
                layer.fast.first().into_iter().for_each(|panels| block[panels.at..][..panels.panel].fill(0.0));
                let pack = if layer.factors.round_weights() { pairs::pack } else { plain };
                for panels in layer.panels {
                    panels.fill(layer.n, block, |columns, panel| pack(&values, columns, panels.panel, panel));
                }
            }
            if numerics == Numerics::Fast {
                estimate.follow(&values);
            }
        }
        Ok(())
    }

    /// Always true: float kernels read no offsets from a block.
    fn is_sound(&self, _: &[Line]) -> bool {
        true
    }

    fn identify(&self, add: &mut dyn FnMut(&[u8])) {
        for layer in self.layers {
            add(layer.weight.as_bytes());
            add(&[u8::from(!layer.fast.is_empty()) | (layer.factors as u8) << 4]);
            for panels in layer.panels.iter().chain(layer.fast) {
                let PackPanels { first, last, panel, at, panel_stride, panels_per_group, group_stride } = *panels;
                let numbers = [layer.k, layer.n, first, last, panel, at, panel_stride, panels_per_group, group_stride];
                numbers.iter().for_each(|number| add(&(*number as u64).to_le_bytes()));
            }
        }
    }
}

impl PackPlan<'_> {
    /// Whether the layer with this name uses the fast inner product in a packed block; `None` if the layer does not support it.
    pub fn is_fast(&self, name: &str, block: &[f32]) -> Option<bool> {
        let named = |layer: &&PackLayer<'_>| layer.weight.strip_suffix(".weight") == Some(name);
        let scales = self.layers.iter().find(named)?.fast.first()?.at;
        Some(*block.get(scales)? != 0.0)
    }
}

/// A layer with its values.
struct Values<'a> {
    layer: &'a PackLayer<'a>,
    /// `[k][n]`
    weight: &'a [[u8; 4]],
    bias: &'a [[u8; 4]],
    /// Sum of the squared weights, computed on first use.
    squares: Cell<Option<f64>>,
}

impl<'a> Values<'a> {
    fn new<'p>(layer: &'a PackLayer<'p>, weights: &Container<'a>) -> Result<Self, PackError<'p>> {
        let weight = floats_of(weights, layer.weight, layer.k * layer.n)?;
        if layer.factors.round_weights() {
            pairs::check(layer.weight, weight)?;
        }
        Ok(Self { layer, weight, bias: floats_of(weights, layer.bias, layer.n)?, squares: Cell::new(None) })
    }

    fn squares(&self) -> f64 {
        let squares = self.squares.get().unwrap_or_else(|| fast::squares(self.weight));
        self.squares.set(Some(squares));
        squares
    }

    fn bias(&self, column: usize) -> f32 {
        f32::from_le_bytes(self.bias[column])
    }
}

impl PackPanels {
    /// Calls `pack` with the columns and the floats of each panel.
    fn fill(&self, n: usize, block: &mut [f32], pack: impl Fn(Range<usize>, &mut [f32])) {
        for (index, first) in (self.first..self.last).step_by(self.panel).enumerate() {
            let group = index / self.panels_per_group * self.group_stride;
            let start = self.at + group + index % self.panels_per_group * self.panel_stride;
            let columns = first..n.min(first + self.panel).min(self.last);
            pack(columns, &mut block[start..][..self.panel_stride]);
        }
    }
}

/// `[1 + k][width]`: the bias row, then the kernel's rows.
fn plain(values: &Values<'_>, columns: Range<usize>, width: usize, panel: &mut [f32]) {
    let rows = core::iter::once(values.bias).chain(values.weight.chunks_exact(values.layer.n));
    for (to, from) in panel.chunks_exact_mut(width).zip(rows) {
        let (used, rest) = to.split_at_mut(columns.len());
        for (to, from) in used.iter_mut().zip(&from[columns.clone()]) {
            *to = f32::from_le_bytes(*from);
        }
        rest.fill(0.0);
    }
}

fn floats_of<'a, 'n>(weights: &Container<'a>, name: &'n str, len: usize) -> Result<&'a [[u8; 4]], PackError<'n>> {
    let tensor: TensorView<'a> = weights.tensor(name).ok_or(PackError::Missing(name))?;
    if tensor.dtype != Dtype::F32 {
        return Err(PackError::Type { name, expected: Dtype::F32, found: tensor.dtype });
    }
    let (floats, rest) = tensor.data.as_chunks::<4>();
    if floats.len() != len || !rest.is_empty() {
        return Err(PackError::Size { name, expected: len * 4, found: tensor.data.len() });
    }
    Ok(floats)
}
