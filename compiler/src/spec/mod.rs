//! The network specification: what a YAML table says, checked and resolved.
//!
//! ```text
//! text -> locate (places) -> tree (values with places) -> walk (every value) -> network (what they make) -> NetworkSpec
//! ```
//!
//! Every stage adds its mistakes to one list and goes on as far as it can.

mod choices;
mod compound;
mod keys;
mod load;
mod locate;
mod network;
mod overrides;
mod resolve;
mod suggest;
mod syntax;
mod template;
mod tree;
mod values;
mod walk;

pub use load::{load, load_with, read};
pub use overrides::{OVERRIDABLE, Overrides, Words};
pub use resolve::{Resolved, ResolvedBlock, make_divisible};
pub(crate) use suggest::nearest;
pub use template::{Template, template};

pub use mbvc_runtime::quantized::arithmetic::Rounding;
pub use mbvc_runtime::{Activation, Isa, Numerics, Padding, Precision};

use crate::diagnostic::{Diagnostic, Diagnostics, Origin, Place, SourceFile, catalog};
use crate::ir::Peak;

/// Longest spec that is read, in bytes: room for 128 rows and a page of comments on each.
pub const MAX_BYTES: usize = 65_536;
/// Largest height and width.
pub const MAX_RESOLUTION: usize = 4096;
/// Most classes, a background class included.
pub const MAX_CLASSES: usize = 65_536;
/// Most channels of any layer, in the table and after width and expansion.
pub const MAX_CHANNELS: usize = 65_536;
/// Largest expansion of a block.
pub const MAX_EXPANSION: usize = 64;
/// Most blocks of a network, and so most repetitions of a row.
pub const MAX_BLOCKS: usize = 128;
/// Most threads that share a call.
pub const MAX_THREADS: usize = 64;
/// Most images of a batch that share the classifier's weights.
pub const MAX_BATCH: usize = 64;
/// Largest width multiplier.
pub const MAX_WIDTH: f64 = 64.0;
/// Rounding of a quantized network whose spec does not name one.
pub const DEFAULT_ROUNDING: Rounding = Rounding::Xnnpack;

/// Checks a spec's text.
///
/// # Errors
/// All mistakes of the spec.
pub fn parse(source: &SourceFile) -> Result<NetworkSpec, Diagnostics> {
    parse_with(source, &Overrides::none())
}

/// Checks a spec's text, with values given beside it in place of its own. What it says itself is checked all the same.
///
/// # Errors
/// All mistakes of the spec and of the overrides.
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
    /// Where the padding of 3x3 convolutions goes.
    pub padding: Padding,
    /// After every convolution but the projections.
    pub activation: Activation,
    /// Added to variances, above 0 and below 1.
    pub batch_norm_epsilon: f64,
    /// Length of the output, counting a background class if there is one.
    pub classes: usize,
    /// What reads the image.
    pub stem: Stem,
    /// Rows of the table, in order of execution; never empty.
    pub blocks: Vec<BlockRow>,
    /// What the pool reads.
    pub head: Head,
    /// From pixels to the network's input.
    pub preprocessing: Preprocessing,
    /// Of weights and values.
    pub precision: Precision,
    /// Where a quantized precision was given; `None` for float32.
    pub precision_place: Option<Place>,
    /// How convolutions of floats sum their products.
    pub numerics: Numerics,
    /// How quantized results are rounded; `None` for float32, which rounds to nearest, ties to even.
    pub rounding: Option<Rounding>,
    /// How much is fused.
    pub fusion: Fusion,
    /// Instruction sets to generate kernels for, without repetition and in a fixed order; never empty.
    pub isas: Vec<Isa>,
    /// Threads that share the work of a call, if the processor has so many free.
    pub threads: usize,
    /// Images of a batch that go through the classifier together.
    pub batch: usize,
    /// `None`: a run may take what it needs.
    pub scratch_budget: Option<ScratchBudget>,
}

impl NetworkSpec {
    /// The mistake of a network whose working memory exceeds the spec's budget, if it does; `peak` is where it needs the
    /// most.
    pub fn check_scratch(&self, needed_bytes: usize, peak: Option<&Peak>) -> Option<Diagnostic> {
        let budget = self.scratch_budget.filter(|budget| needed_bytes > budget.bytes)?;
        let message = format!("a run needs {needed_bytes} bytes of scratch, the budget is {}", budget.bytes);
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

/// Most working memory that a run may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScratchBudget {
    /// From 1.
    pub bytes: usize,
    /// Where it was given.
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
    /// Channels of the depthwise convolution for each of the input; 1: there is no expand.
    pub expansion: usize,
    /// Of each block's output.
    pub channels: usize,
    /// How many blocks, from 1.
    pub repeat: usize,
    /// 1 or 2, of the depthwise convolution, in both directions.
    pub stride: usize,
    /// `Auto`: a residual where stride is 1 and the channel counts agree after rounding.
    pub residual: ResidualRule,
    /// Line of the row in the spec, from 1.
    pub line: usize,
}

/// Which blocks of a row add their input to their output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResidualRule {
    /// Those that can: stride 1, and as many channels out as in.
    #[default]
    Auto,
    /// Every block of the row has one; a row where that is impossible is an error of the spec.
    Required,
    /// None.
    Never,
}

/// The last convolution: 1x1 to `channels` (scaled by the width multiplier only above width 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Output channels, which the classifier reads.
    pub channels: usize,
    /// Line of the key in the spec, from 1.
    pub line: usize,
}

/// `input = pixel * scale + offset` for each channel (red, green, blue), pixel in 0..=255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// What the input grows by from one pixel value to the next.
    pub scale: [f32; 3],
    /// The input of a pixel of 0.
    pub offset: [f32; 3],
}

/// How much is fused; see the passes.
///
/// Integers are activated and added where they are rounded, and averaged where they are made: for quantized networks
/// `None` is the same as `Relu6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fusion {
    /// Convolution, activation and residual add each over whole tensors.
    None,
    /// Activation and residual add in the epilogue of the convolution.
    Relu6,
    /// Streamed inverted residual blocks.
    Block,
    /// These, and blocks that make their rows as the next one wants them where that can be: less scratch.
    Deep,
}
