//! What every generated network is and tells about itself.

use crate::conventions::Conventions;
use crate::formats::container::Dtype;
use crate::isa::{Detected, Isa};
use crate::numerics::Numerics;
use crate::preprocess::Preprocess;
use crate::scratch::Packed;

/// Facts of a generated network, known at compile time.
#[derive(Debug)]
pub struct NetworkInfo {
    /// Of its type, `MobileNetV2`.
    pub name: &'static str,
    /// `[height, width, 3]`.
    pub input: [usize; 3],
    /// Length of the logits.
    pub classes: usize,
    /// Length of the vector before the classifier.
    pub embedding: usize,
    /// `none`, `relu6`, `block` or `deep`.
    pub fusion: &'static str,
    /// Bytes that a call writes between input and output.
    pub scratch_bytes: usize,
    /// Most threads that work on a call together; the scratch has room for each.
    pub threads: usize,
    /// What its weights must have been trained under.
    pub conventions: Conventions,
    /// What it was compiled for; what a model is packed for depends on the processor too.
    pub numerics: Numerics,
    /// The instruction sets that it was compiled for.
    pub isas: &'static [Isa],
    /// The tensors that it is made of.
    pub parameters: &'static [Parameter<'static>],
    /// Convolutions and classifier, by their numbers in the table.
    pub layers: &'static [Layer],
    /// In order of execution.
    pub steps: &'static [Step],
}

impl NetworkInfo {
    /// What weights of the network must be.
    pub fn needs(&self) -> Needs<'_> {
        Needs { conventions: self.conventions, parameters: self.parameters }
    }
}

/// What a network needs of its weights, whatever it was compiled for.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// What the weights must have been trained under.
    pub conventions: Conventions,
    /// In order of execution.
    pub parameters: &'a [Parameter<'a>],
}

/// A tensor of the canonical container.
#[derive(Debug, Clone, Copy)]
pub struct Parameter<'a> {
    /// `block2.expand.weight`, and in quantized networks also `block2.expand.scale` and the like.
    pub name: &'a str,
    /// Of each element.
    pub dtype: Dtype,
    /// Convolution `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, dense `[in, out]`, all others `[channels]` or
    /// `[1]`.
    pub shape: &'a [usize],
}

/// A row of the published layer table.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Number in the table, from 1.
    pub number: usize,
    /// `block2.expand`.
    pub name: &'static str,
    /// Index of the step that runs it.
    pub step: usize,
    /// Line of the spec that made it, from 1.
    pub line: usize,
    /// `[height, width, channels]` of its output.
    pub output: [usize; 3],
    /// Multiplications with addition.
    pub macs: usize,
}

/// A unit of execution: the stem, a block, the head, the classifier.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// `stem+block1`, `block2`, `head`, `classifier`.
    pub name: &'static str,
    /// `[height, width, channels]` of its output.
    pub output: [usize; 3],
    /// In order of execution.
    pub stages: &'static [Stage],
}

/// A part of a step that a profile tells apart.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// `block2.expand`.
    pub name: &'static str,
    /// Multiplications with addition.
    pub macs: usize,
    /// Bytes of input, output and weights.
    pub bytes: usize,
}

/// Watches a run. The default methods do nothing and cost nothing.
pub trait Observer {
    /// `stage` of `step` did a part of its work; it may do more later.
    #[inline(always)]
    fn stage(&mut self, step: usize, stage: usize) {
        let _ = (step, stage);
    }

    /// `step` is done; `output` is its value, `[height, width, channels]`.
    #[inline(always)]
    fn step(&mut self, step: usize, output: &[f32]) {
        let _ = (step, output);
    }

    /// `step` of a quantized network; the numbers as bytes, those of int8 with 128 added.
    #[inline(always)]
    fn bytes(&mut self, step: usize, output: &[u8]) {
        let _ = (step, output);
    }
}

/// Watches nothing.
pub struct Unobserved;

impl Observer for Unobserved {}

impl<F: FnMut(usize, &[f32])> Observer for F {
    #[inline(always)]
    fn step(&mut self, step: usize, output: &[f32]) {
        self(step, output);
    }
}

/// Hands on to an observer that is not known at compile time.
pub struct Dynamic<'a>(pub &'a mut dyn Observer);

impl Observer for Dynamic<'_> {
    fn stage(&mut self, step: usize, stage: usize) {
        self.0.stage(step, stage);
    }

    fn step(&mut self, step: usize, output: &[f32]) {
        self.0.step(step, output);
    }

    fn bytes(&mut self, step: usize, output: &[u8]) {
        self.0.bytes(step, output);
    }
}

/// A generated network behind one type: for tools that compare several.
pub trait Network: Send + Sync {
    /// What is known of it at compile time.
    fn info(&self) -> &'static NetworkInfo;

    /// The instruction set whose kernels run.
    fn isa(&self) -> Isa;

    /// Bytes of the packed weights.
    fn packed_bytes(&self) -> usize;

    /// Whether layer `index` of [`NetworkInfo::layers`] takes the fast inner product; `None` if it never does.
    fn is_fast(&self, index: usize) -> Option<bool>;

    /// From the image `[height, width, 3]` to the logits; quantized networks round the image, and give the real numbers
    /// that their logits stand for.
    ///
    /// `scratch` holds [`NetworkInfo::scratch_bytes`], aligned to 64 bytes for speed.
    ///
    /// # Errors
    /// If one of the slices has another length than the network's.
    fn run_into(
        &self,
        scratch: &mut [f32],
        input: &[f32],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError>;

    /// [`run_into`](Self::run_into) on the image's bytes, red, green, blue, preprocessed as the weights ask for.
    ///
    /// # Errors
    /// As `run_into`.
    fn run_pixels_into(
        &self,
        scratch: &mut [f32],
        pixels: &[u8],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError>;
}

/// A slice has another length than the network needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthError {
    /// `input`, `scratch` or `logits`.
    pub what: &'static str,
    /// Values that the network needs.
    pub expected: usize,
    /// Values that were given.
    pub found: usize,
}

impl LengthError {
    /// Whether a slice, called `what`, has the length that it needs.
    ///
    /// # Errors
    /// If `found` is not `expected`.
    #[inline]
    pub fn check(what: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        if expected == found { Ok(()) } else { Err(Self { what, expected, found }) }
    }
}

impl core::fmt::Display for LengthError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the {} has {} values, the network needs {}", self.what, self.found, self.expected)
    }
}

impl core::error::Error for LengthError {}

/// What a model holds whatever its number type: packed weights, and what was decided when it was built.
#[derive(Debug, Clone)]
pub struct BaseModel {
    /// For the kernels of `isa`.
    pub packed: Packed,
    /// The instruction set whose kernels run.
    pub isa: Detected,
    /// From pixels to the input, as the weights require.
    pub preprocess: Preprocess,
    /// Labels, and how pictures are framed; clones of a model share it.
    #[cfg(feature = "alloc")]
    pub about: alloc::sync::Arc<crate::picture::About>,
}
