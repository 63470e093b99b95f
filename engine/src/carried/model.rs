//! The network with its weights, and the memory of a call.

use super::{Generated, rt};
use rt::{LengthError, Network, Observer};

/// A network with packed weights. Threads may share it, each with its own [`Work`].
pub struct Model {
    network: Generated,
    head_activation: rt::HeadActivation,
    framing: rt::Framing,
}

/// Number of values of an image.
pub const INPUT: usize = Generated::INPUT[0] * Generated::INPUT[1] * Generated::INPUT[2];
/// Cache lines of a scratch.
const LINES: usize = Generated::SCRATCH_BYTES / 64;

/// The memory of one call.
pub struct Work {
    scratch: Box<rt::Scratch<LINES>>,
    /// Result of the last call.
    pub logits: Box<[f32]>,
}

impl Work {
    pub fn new() -> Self {
        Self { scratch: Generated::scratch(), logits: vec![0.0; Generated::CLASSES].into() }
    }
}

impl Model {
    /// Packs a weights file for this processor.
    ///
    /// # Errors
    /// If the weights are damaged, this processor supports none of the compiled instruction sets, or an environment
    /// variable has an invalid value.
    pub fn from_container(file: &'static [u8]) -> Result<Self, String> {
        let weights = rt::Weights::from_static(file).map_err(|error| error.to_string())?;
        let weights = weights.with_source("the weights in this program");
        let network = Generated::new(&weights).map_err(|error| error.to_string())?;
        Ok(Self { network, head_activation: weights.head_activation(), framing: weights.framing() })
    }

    /// Uses packed weights, aligned to 64 bytes, in place.
    ///
    /// # Errors
    /// If they are damaged, or were packed for another network or instruction set.
    pub fn from_packed(file: &'static [u8]) -> Result<Self, rt::PackedError> {
        let network = Generated::from_packed(file)?;
        let text = rt::PackedHeader::parse(file)?.text(file)?;
        let framing = rt::Framing::parse(text.framing).map_err(|_| rt::PackedError::Text)?;
        Ok(Self { network, head_activation: text.head_activation, framing })
    }

    pub fn isa(&self) -> rt::Isa {
        self.network.isa()
    }

    /// Returns the labels of the classes; empty if the weights have none.
    pub fn labels(&self) -> &[rt::String] {
        self.network.labels()
    }

    pub fn framing(&self) -> rt::Framing {
        self.framing
    }

    /// Returns the function from logits to the scores of the classes.
    pub fn head_activation(&self) -> rt::HeadActivation {
        self.head_activation
    }

    pub fn packed_bytes(&self) -> usize {
        self.network.packed_bytes()
    }

    /// Runs the network on a preprocessed image `[height, width, channels]`. Writes the logits to `work.logits`.
    ///
    /// # Errors
    /// If the image has another length.
    pub fn run(&self, work: &mut Work, image: &[f32]) -> Result<(), LengthError> {
        self.network.run_into(work.scratch.floats_mut(), image, &mut work.logits, &mut rt::Unobserved)
    }

    /// Like [`run`](Self::run), but takes red, green and blue bytes, or gray ones, and preprocesses them as the weights specify.
    ///
    /// # Errors
    /// If the image has another length.
    pub fn run_pixels(&self, work: &mut Work, pixels: &[u8]) -> Result<(), LengthError> {
        self.observe(work, pixels, &mut rt::Unobserved)
    }

    /// Like [`run_pixels`](Self::run_pixels), but reports every step to `observer`.
    ///
    /// # Errors
    /// If the image has another length.
    pub fn observe(&self, work: &mut Work, pixels: &[u8], observer: &mut dyn Observer) -> Result<(), LengthError> {
        self.network.run_pixels_into(work.scratch.floats_mut(), pixels, &mut work.logits, observer)
    }

    /// Returns the pooled vector.
    ///
    /// # Errors
    /// If the image has another length.
    #[cfg(not(quantized))]
    pub fn embed(&self, work: &mut Work, image: &[f32]) -> Result<[f32; Generated::EMBEDDING], LengthError> {
        Ok(self.network.embed(&mut work.scratch, whole(image)?))
    }

    /// Like [`embed`](Self::embed), but takes bytes, as [`run_pixels`](Self::run_pixels). The vector of quantized
    /// networks is dequantized.
    ///
    /// # Errors
    /// If the image has another length.
    pub fn embed_pixels(&self, work: &mut Work, pixels: &[u8]) -> Result<[f32; Generated::EMBEDDING], LengthError> {
        let mut vector = [0.0; Generated::EMBEDDING];
        self.network.embed_pixels_into(work.scratch.floats_mut(), pixels, &mut vector)?;
        Ok(vector)
    }

    /// Crops and resizes a picture of any size for [`run_pixels`](Self::run_pixels).
    pub fn frame(&self, picture: &rt::Rgb<'_>) -> Vec<u8> {
        self.framing.frame(picture, Generated::INPUT)
    }

    /// Returns at most `count` classes of the last call with their scores, the highest first.
    pub fn best(&self, work: &Work, count: usize) -> Vec<(usize, f32)> {
        let scores = self.head_activation.scores(&work.logits);
        let mut best = vec![(0, 0.0); count.min(scores.len())];
        let found = rt::top_k(&scores, &mut best);
        best.truncate(found);
        best
    }
}

/// Returns an image with its length as part of its type.
#[cfg(not(quantized))]
fn whole<T>(image: &[T]) -> Result<&[T; INPUT], LengthError> {
    image.try_into().map_err(|_| LengthError { what: "input", expected: INPUT, found: image.len() })
}
