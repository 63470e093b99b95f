//! The network specification: a YAML table, checked and resolved.
//!
//! ```text
//! text -> locate (places) -> tree (values with places) -> walk (single values) -> network (all values) -> NetworkSpec
//! ```
//!
//! Every stage adds its errors to one list and continues as far as it can.

mod choices;
mod compound;
mod excerpt;
mod keys;
mod load;
mod locate;
mod network;
mod overrides;
mod resolve;
mod syntax;
mod template;
mod tree;
mod values;
mod walk;

pub use load::{load, load_with, read};
pub use overrides::{OVERRIDABLE, Overrides, Words};
pub use resolve::{Resolved, ResolvedBlock, make_divisible};
pub use template::{Template, template};

pub use mbvc_runtime::quantized::arithmetic::Rounding;
pub use mbvc_runtime::{Activation, Color, Isa, Numerics, Padding, Precision};

use crate::diagnostic::{Diagnostic, Diagnostics, Origin, Place, SourceFile, catalog};
use crate::ir::Peak;

/// Longest spec, in bytes: room for 128 rows with a page of comments each.
pub const MAX_BYTES: usize = 65_536;
/// Largest height and width.
pub const MAX_RESOLUTION: usize = 4096;
/// Most classes, including a background class.
pub const MAX_CLASSES: usize = 65_536;
/// Most channels of a layer, in the table and after width and expansion.
pub const MAX_CHANNELS: usize = 65_536;
/// Maximum number of dense layers before the classifier.
pub const MAX_DENSE: usize = 8;
/// Largest expansion of a block.
pub const MAX_EXPANSION: usize = 64;
/// Most blocks of a network, and most repeats of a row.
pub const MAX_BLOCKS: usize = 128;
/// Most threads of a call.
pub const MAX_THREADS: usize = 64;
/// Most images of a batch.
pub const MAX_BATCH: usize = 64;
/// Largest width multiplier.
pub const MAX_WIDTH: f64 = 64.0;
/// Rounding of a quantized network whose spec does not name one.
pub const DEFAULT_ROUNDING: Rounding = Rounding::Xnnpack;

/// Checks a spec's text.
///
/// # Errors
/// If the spec is invalid. The diagnostics list every error.
pub fn parse(source: &SourceFile) -> Result<NetworkSpec, Diagnostics> {
    parse_with(source, &Overrides::none())
}

/// Checks a spec's text with overrides. The overridden values are checked as well.
///
/// # Errors
/// If the spec or an override is invalid. The diagnostics list every error.
pub fn parse_with(source: &SourceFile, overrides: &Overrides) -> Result<NetworkSpec, Diagnostics> {
    let mut mistakes = Vec::new();
    let arguments = overrides.arguments(&mut mistakes);
    let spec = load::root(source, &mut mistakes).and_then(|root| {
        let mut checker = values::Checker::new(source, &arguments, &mut mistakes);
        let draft = walk::walk(&mut checker, &root, &arguments)?;
        network::check(&mut checker, draft)
    });
    let mut diagnostics = Diagnostics::new(source.clone()).with_arguments(arguments.source);
    mistakes.into_iter().for_each(|mistake| diagnostics.push(mistake));
    diagnostics.into_result(spec)
}

/// A checked specification of one member of the MobileNetV2 family
/// (Sandler et al. 2018, arXiv:1801.04381, table 2).
///
/// Channel counts are the table's, before the width multiplier.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    /// Name of the generated type, a Rust identifier in CamelCase.
    pub name: String,
    /// Width multiplier applied to every channel count by [`make_divisible`].
    pub width: f64,
    /// Input height and width in pixels.
    pub resolution: [usize; 2],
    /// Colors of the input's pixels.
    pub input: Color,
    /// Padding convention of 3x3 convolutions.
    pub padding: Padding,
    /// Activation of every convolution except the projections.
    pub activation: Activation,
    /// Epsilon of batch normalization, above 0 and below 1.
    pub batch_norm_epsilon: f64,
    /// Number of classes, including a background class.
    pub classes: usize,
    /// The first convolution.
    pub stem: Stem,
    /// Rows of the table, in order of execution; never empty.
    pub blocks: Vec<BlockRow>,
    /// The last convolution.
    pub head: Head,
    /// Maps pixels to the network's input.
    pub preprocessing: Preprocessing,
    /// Number type of weights and values.
    pub precision: Precision,
    /// Place of a quantized precision; `None` for float32 and bf16.
    pub precision_place: Option<Place>,
    /// How float32 convolutions sum their products; see [`effective_numerics`](NetworkSpec::effective_numerics).
    pub numerics: Numerics,
    /// How quantized results are rounded; `None` for float32 and bf16, which round to nearest,
    /// ties to even.
    pub rounding: Option<Rounding>,
    /// Fusion level.
    pub fusion: Fusion,
    /// Instruction sets of the kernels, each once, in the order of [`Isa::ALL`]; never empty.
    pub isas: Vec<Isa>,
    /// Most threads of a call.
    pub threads: usize,
    /// Images of a batch that share one pass over the classifier's weights.
    pub batch: usize,
    /// Largest scratch; `None` without a limit.
    pub scratch_budget: Option<ScratchBudget>,
}

impl NetworkSpec {
    /// Numerics of the kernels: the spec's in float32, and strict in all other precisions, in which the choice has no
    /// effect.
    pub fn effective_numerics(&self) -> Numerics {
        if self.precision == Precision::F32 { self.numerics } else { Numerics::Strict }
    }

    /// The error for a scratch of `needed_bytes` that exceeds the budget; `peak` is the operation with the highest use.
    pub fn check_scratch(&self, needed_bytes: usize, peak: Option<&Peak>) -> Option<Diagnostic> {
        let budget = self.scratch_budget.filter(|budget| needed_bytes > budget.bytes)?;
        let message = format!("a run requires {needed_bytes} bytes of scratch, but the budget is {}", budget.bytes);
        let deeper = match self.precision.is_quantized() && self.fusion == Fusion::Block && self.threads == 1 {
            true => "write `fusion: deep`, ",
            false => "",
        };
        let place = peak.map_or_else(String::new, |peak| format!("{peak}; "));
        let mistake = Diagnostic::new(&catalog::SCRATCH, message).help(format!(
            "{place}{deeper}raise the budget to {needed_bytes}, or lower the resolution, the width or the expansion of the \
             first rows"
        ));
        Some(if budget.place.origin == Origin::Spec { mistake.at(budget.place) } else { mistake })
    }
}

/// Largest scratch of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScratchBudget {
    /// From 1.
    pub bytes: usize,
    /// Place of the key.
    pub place: Place,
}

/// The first convolution: 3x3.
#[derive(Debug, Clone, PartialEq)]
pub struct Stem {
    /// Output channels.
    pub channels: usize,
    /// 1 or 2, in both directions.
    pub stride: usize,
    /// Line of the key in the spec, from 1.
    pub line: usize,
}

/// One row of the table: `repeat` inverted residual blocks, the first with `stride`, the others with 1.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRow {
    /// Factor from input channels to those of the depthwise convolution; 1 without an expansion.
    pub expansion: usize,
    /// Output channels of each block.
    pub channels: usize,
    /// Number of blocks, from 1.
    pub repeat: usize,
    /// Stride of the depthwise convolution, 1 or 2 in both directions.
    pub stride: usize,
    /// Which blocks have a residual.
    pub residual: ResidualRule,
    /// Line of the row in the spec, from 1.
    pub line: usize,
}

/// Selects the blocks of a row that add their input to their output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResidualRule {
    /// Blocks with stride 1 and equal input and output channels after rounding.
    #[default]
    Auto,
    /// Every block of the row; an error if a block cannot have a residual.
    Required,
    /// None.
    Never,
}

/// The last convolution, 1x1 to `channels` (scaled by the width multiplier only above width 1), and the dense layers
/// between the pool and the classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Output channels.
    pub channels: usize,
    /// Units of each dense layer before the classifier, in order; usually none.
    pub dense: Vec<usize>,
    /// Activation of these layers.
    pub dense_activation: Activation,
    /// Line of the key in the spec, from 1.
    pub line: usize,
}

/// `input = pixel * scale + offset` for each channel (red, green, blue), pixel in 0..=255. For gray pixels, the three
/// values are equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// Input per pixel value.
    pub scale: [f32; 3],
    /// Input of pixel value 0.
    pub offset: [f32; 3],
}

/// Fusion level; see [`crate::passes`].
///
/// Quantized layers requantize, activate, add and average in their epilogue: for them `None` equals `Relu6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fusion {
    /// Convolution, activation and residual add as separate passes over whole tensors.
    None,
    /// Activation and residual add in the epilogue of the convolution.
    Relu6,
    /// Streamed inverted residual blocks.
    Block,
    /// Also chains of blocks that produce rows on demand of the next block, which needs less scratch.
    Deep,
}
