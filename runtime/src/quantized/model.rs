//! A quantized network with its parameters.

use core::marker::PhantomData;

use super::edges::{Edges, Integral, dequantize};
use super::image::{Pixels, Table, Values};
use super::plan::QuantPlan;
use crate::formats::packed::{PackedError, from_packed};
use crate::isa::{Detected, Isa};
use crate::network::{BaseModel, NetworkInfo};
use crate::scratch::bytes;

/// A model of a network with numbers of type `T`.
#[derive(Debug, Clone)]
pub struct Model<T> {
    base: BaseModel,
    edges: Edges,
    table: Table,
    numbers: PhantomData<T>,
}

impl<T: Integral> Model<T> {
    /// Returns `None` if the block was not packed for numbers `T`.
    fn new(base: BaseModel) -> Option<Self> {
        let edges = Edges::of(bytes(base.packed.lines()), T::INTEGER)?;
        let table = Table::new(&base.preprocess, edges.input, T::INTEGER);
        Some(Self { base, edges, table, numbers: PhantomData })
    }

    /// Builds a model of packed weights, which are used in place.
    ///
    /// # Errors
    /// As [`from_packed`].
    pub fn from_packed(
        info: &'static NetworkInfo,
        plan: impl Fn(Isa) -> Option<&'static QuantPlan<'static>>,
        file: &'static [u8],
    ) -> Result<Self, PackedError> {
        Self::new(from_packed(info, plan, file)?).ok_or(PackedError::NotPacked)
    }

    /// Packs `weights` for this processor.
    ///
    /// # Errors
    /// As [`build`](crate::build).
    #[cfg(feature = "alloc")]
    pub fn build(
        info: &'static NetworkInfo,
        plan: impl FnOnce(Isa) -> Option<&'static QuantPlan<'static>>,
        weights: &crate::weights::Weights,
        isa: Option<Isa>,
    ) -> Result<Self, crate::build::ModelError> {
        let base = crate::build::build(info, plan, weights, isa)?;
        Self::new(base).ok_or(crate::build::ModelError::Pack(crate::float::pack::PackError::OutOfRange("input.scale")))
    }

    /// Returns the instruction set whose kernels run.
    #[inline]
    pub fn isa(&self) -> Detected {
        self.base.isa
    }

    /// Returns the packed block.
    #[inline]
    pub fn block(&self) -> &[u8] {
        bytes(self.base.packed.lines())
    }

    /// Returns the bytes of the packed block.
    pub fn packed_bytes(&self) -> usize {
        size_of_val(self.base.packed.lines())
    }

    /// Whether the layer with this name uses the fast inner product: quantized layers never can.
    pub fn is_fast(&self, _: Option<&'static QuantPlan<'static>>, _: &str) -> Option<bool> {
        None
    }

    /// Returns the labels and the framing of pictures.
    #[cfg(feature = "alloc")]
    pub fn metadata(&self) -> &crate::picture::ClassifierMetadata {
        &self.base.metadata
    }

    /// Returns the quantizations of input and outputs.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// Returns an image of pixels as the network reads it.
    #[inline]
    pub fn pixels<'a>(&'a self, bytes: &'a [u8]) -> Pixels<'a> {
        Pixels { bytes, table: &self.table }
    }

    /// Returns an image of real numbers as the network reads it.
    pub fn values<'a>(&self, values: &'a [f32]) -> Values<'a> {
        Values { values, quant: self.edges.input, integer: T::INTEGER }
    }

    /// Dequantizes logits.
    pub fn dequantize(&self, logits: &[T], to: &mut [f32]) {
        dequantize(self.edges.logits, logits, to);
    }

    /// Dequantizes the pooled vector.
    pub fn dequantize_embedding(&self, vector: &[T], to: &mut [f32]) {
        dequantize(self.edges.embedding, vector, to);
    }
}
