//! A float network with its parameters.

use super::pack::PackPlan;
use crate::formats::packed::{PackedError, from_packed};
use crate::isa::{Detected, Isa};
use crate::network::{BaseModel, NetworkInfo};
use crate::stream::Pixels;

/// Parameters of a float32 model.
#[derive(Debug, Clone)]
pub struct Model(BaseModel);

impl Model {
    /// Builds a model of packed weights, which are used in place.
    ///
    /// # Errors
    /// As [`from_packed`].
    pub fn from_packed(
        info: &'static NetworkInfo,
        plan: impl Fn(Isa) -> Option<&'static PackPlan<'static>>,
        file: &'static [u8],
    ) -> Result<Self, PackedError> {
        from_packed(info, plan, file).map(Self)
    }

    /// Packs `weights` for this processor.
    ///
    /// # Errors
    /// As [`build`](crate::build).
    #[cfg(feature = "alloc")]
    pub fn build(
        info: &'static NetworkInfo,
        plan: impl FnOnce(Isa) -> Option<&'static PackPlan<'static>>,
        weights: &crate::weights::Weights,
        isa: Option<Isa>,
    ) -> Result<Self, crate::build::ModelError> {
        crate::build::build(info, plan, weights, isa).map(Self)
    }

    /// Returns the instruction set whose kernels run.
    #[inline]
    pub fn isa(&self) -> Detected {
        self.0.isa
    }

    /// Returns the packed block.
    #[inline]
    pub fn block(&self) -> &[f32] {
        self.0.packed.floats()
    }

    /// Returns the bytes of the packed block.
    pub fn packed_bytes(&self) -> usize {
        size_of_val(self.0.packed.lines())
    }

    /// Whether the layer with this name uses the fast inner product; `None` if the layer does not support it.
    pub fn is_fast(&self, plan: Option<&'static PackPlan<'static>>, layer: &str) -> Option<bool> {
        plan?.is_fast(layer, self.0.packed.floats())
    }

    /// Returns the labels and the framing of pictures.
    #[cfg(feature = "alloc")]
    pub fn metadata(&self) -> &crate::picture::ClassifierMetadata {
        &self.0.metadata
    }

    /// Returns an image of pixels `[height, width, channels]`, which are preprocessed when they are read.
    #[inline]
    pub fn pixels<'a>(&self, bytes: &'a [u8]) -> Pixels<'a> {
        Pixels { bytes, preprocess: self.0.preprocess }
    }

    /// Returns an image of preprocessed values `[height, width, channels]`.
    #[inline]
    pub fn values<'a>(&self, values: &'a [f32]) -> &'a [f32] {
        values
    }

    /// Returns the values of logits.
    pub fn dequantize(&self, logits: &[f32], to: &mut [f32]) {
        to.copy_from_slice(logits);
    }

    /// Copies the pooled vector to `to`.
    pub fn dequantize_embedding(&self, vector: &[f32], to: &mut [f32]) {
        to.copy_from_slice(vector);
    }
}
