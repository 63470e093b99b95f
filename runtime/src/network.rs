//! The interface of generated networks: facts, weights, observers and the object-safe trait.

use crate::bf16::Bf16;
use crate::conventions::Conventions;
use crate::float::pack::PackError;
use crate::formats::container::{Container, Dtype};
use crate::isa::{Detected, Isa};
use crate::numerics::Numerics;
use crate::preprocess::Preprocess;
use crate::scratch::Packed;

/// Facts of a generated network, known at compile time.
#[derive(Debug)]
pub struct NetworkInfo {
    /// Name of its type, such as `MobileNetV2`.
    pub name: &'static str,
    /// Shape of the input: `[height, width, 3]`, or `[height, width, 1]` for gray pixels.
    pub input: [usize; 3],
    /// Number of logits.
    pub classes: usize,
    /// Length of the pooled vector.
    pub embedding: usize,
    /// Fusion level: `none`, `relu6`, `block` or `deep`.
    pub fusion: &'static str,
    /// Size of the scratch of a call in bytes.
    pub scratch_bytes: usize,
    /// Most threads that run one call together. The scratch has room for each.
    pub threads: usize,
    /// Conventions that the weights must have been trained with.
    pub conventions: Conventions,
    /// Numerics that the network was compiled for. Those of a model depend on the processor, too.
    pub numerics: Numerics,
    /// Instruction sets that the network was compiled for.
    pub isas: &'static [Isa],
    /// Tensors of its weights.
    pub parameters: &'static [Parameter<'static>],
    /// Convolutions and the classifier, in the order of the published layer table.
    pub layers: &'static [Layer],
    /// Steps in order of execution.
    pub steps: &'static [Step],
}

impl NetworkInfo {
    /// Requirements on the weights of the network.
    pub fn needs(&self) -> Needs<'_> {
        let [height, width, _] = self.input;
        Needs { conventions: self.conventions, resolution: [height, width], parameters: self.parameters }
    }
}

/// Requirements of a network on its weights. They are independent of instruction sets and fusion.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// Conventions that the weights must have been trained with.
    pub conventions: Conventions,
    /// Height and width of the image.
    pub resolution: [usize; 2],
    /// Tensors in order of execution.
    pub parameters: &'a [Parameter<'a>],
}

impl<'a> Needs<'a> {
    /// Checks that all float32 tensors of the weights are finite.
    ///
    /// # Errors
    /// If a tensor that the network requires has an infinite element or a NaN.
    pub(crate) fn check_finite(&self, weights: &Container<'_>) -> Result<(), PackError<'a>> {
        for parameter in self.parameters.iter().filter(|parameter| parameter.dtype == Dtype::F32) {
            let values = weights.tensor(parameter.name).and_then(|tensor| tensor.f32s());
            if values.is_some_and(|values| !values.is_finite()) {
                return Err(PackError::NotFinite(parameter.name));
            }
        }
        Ok(())
    }
}

/// A tensor of a weights file.
#[derive(Debug, Clone, Copy)]
pub struct Parameter<'a> {
    /// Canonical name, such as `block2.expand.weight`, or `block2.expand.scale` in quantized networks.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Shape: convolution `[kh, kw, in, out]`, depthwise `[kh, kw, channels]`, dense `[in, out]`, others `[channels]`
    /// or `[1]`.
    pub shape: &'a [usize],
}

/// A row of the published layer table.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Number in the table, from 1.
    pub number: usize,
    /// Canonical name, such as `block2.expand`.
    pub name: &'static str,
    /// Index of the step that computes it.
    pub step: usize,
    /// Line of the spec that defines it, from 1.
    pub line: usize,
    /// Shape of its output: `[height, width, channels]`.
    pub output: [usize; 3],
    /// Multiply-accumulate operations.
    pub macs: usize,
}

/// A unit of execution: the stem, a block, the head, the classifier.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Name, such as `stem+block1`, `block2`, `head`, `classifier`.
    pub name: &'static str,
    /// Shape of its output: `[height, width, channels]`.
    pub output: [usize; 3],
    /// Stages in order of execution.
    pub stages: &'static [Stage],
}

/// A part of a step that a profile measures separately.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// Canonical name, such as `block2.expand`.
    pub name: &'static str,
    /// Multiply-accumulate operations.
    pub macs: usize,
    /// Size of input, output and weights in bytes.
    pub bytes: usize,
}

/// Observes a run. The default methods do nothing and cost nothing.
pub trait Observer {
    /// Called when `stage` of `step` has finished a part of its work. More parts may follow.
    #[inline(always)]
    fn stage(&mut self, step: usize, stage: usize) {
        let _ = (step, stage);
    }

    /// Called when `step` has finished, with its output `[height, width, channels]`.
    #[inline(always)]
    fn step(&mut self, step: usize, output: &[f32]) {
        let _ = (step, output);
    }

    /// Called instead of [`step`](Self::step) in a bf16 network if the output `[height, width, channels]` is stored as
    /// bf16: for all steps except the head and those after it.
    #[inline(always)]
    fn bf16(&mut self, step: usize, output: &[Bf16]) {
        let _ = (step, output);
    }

    /// Called instead of [`step`](Self::step) in a quantized network, with the output as bytes; int8 values have 128
    /// added.
    #[inline(always)]
    fn bytes(&mut self, step: usize, output: &[u8]) {
        let _ = (step, output);
    }
}

/// Observes nothing.
pub struct Unobserved;

impl Observer for Unobserved {}

impl<F: FnMut(usize, &[f32])> Observer for F {
    #[inline(always)]
    fn step(&mut self, step: usize, output: &[f32]) {
        self(step, output);
    }
}

/// Forwards to an observer that is chosen at run time.
pub struct Dynamic<'a>(pub &'a mut dyn Observer);

impl Observer for Dynamic<'_> {
    fn stage(&mut self, step: usize, stage: usize) {
        self.0.stage(step, stage);
    }

    fn step(&mut self, step: usize, output: &[f32]) {
        self.0.step(step, output);
    }

    fn bf16(&mut self, step: usize, output: &[Bf16]) {
        self.0.bf16(step, output);
    }

    fn bytes(&mut self, step: usize, output: &[u8]) {
        self.0.bytes(step, output);
    }
}

/// A generated network behind one type, for tools that compare several.
pub trait Network: Send + Sync {
    /// Facts that are known at compile time.
    fn info(&self) -> &'static NetworkInfo;

    /// Instruction set of the kernels that run.
    fn isa(&self) -> Isa;

    /// Size of the packed weights in bytes.
    fn packed_bytes(&self) -> usize;

    /// Whether layer `index` of [`NetworkInfo::layers`] uses the fast inner product; `None` if it never can.
    fn is_fast(&self, index: usize) -> Option<bool>;

    /// Computes the logits of the image `input`, of the shape [`NetworkInfo::input`]. A quantized network
    /// quantizes the image and returns dequantized logits.
    ///
    /// `scratch` has [`NetworkInfo::scratch_bytes`] bytes and is aligned to 64 bytes for speed.
    ///
    /// # Errors
    /// If the length of a slice is not the one that the network requires.
    fn run_into(
        &self,
        scratch: &mut [f32],
        input: &[f32],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError>;

    /// [`run_into`](Self::run_into) on the bytes of pixels, interleaved RGB or gray, with the preprocessing of the
    /// weights.
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

    /// Computes the pooled vector of an image, whose pixels have the format of [`run_pixels_into`](Self::run_pixels_into). The
    /// vector of a quantized network is dequantized. `vector` has [`NetworkInfo::embedding`] elements.
    ///
    /// # Errors
    /// As `run_into`.
    fn embed_pixels_into(&self, scratch: &mut [f32], pixels: &[u8], vector: &mut [f32]) -> Result<(), LengthError>;
}

/// The length of a slice is not the one that the network requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthError {
    /// `input`, `scratch`, `logits` or `vector`.
    pub what: &'static str,
    /// Length that the network requires.
    pub expected: usize,
    /// Length of the slice.
    pub found: usize,
}

impl LengthError {
    /// Checks the length of the slice called `what`.
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
        write!(f, "`{}` has length {}, expected {}", self.what, self.found, self.expected)
    }
}

impl core::error::Error for LengthError {}

/// Parts of a model that are independent of its number type: packed weights, and decisions made when it was built.
#[derive(Debug, Clone)]
pub struct BaseModel {
    /// Packed weights, for the kernels of `isa`.
    pub packed: Packed,
    /// The instruction set whose kernels run.
    pub isa: Detected,
    /// Preprocessing of pixels, as the weights require.
    pub preprocess: Preprocess,
    /// Labels and framing of pictures, shared by the clones of a model.
    #[cfg(feature = "alloc")]
    pub metadata: alloc::sync::Arc<crate::picture::ClassifierMetadata>,
}
