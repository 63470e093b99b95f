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
    /// `None` if the block was not packed for numbers `T`.
    fn new(base: BaseModel) -> Option<Self> {
        let edges = Edges::of(bytes(base.packed.lines()), T::INTEGER)?;
        let table = Table::new(&base.preprocess, edges.input, T::INTEGER);
        Some(Self { base, edges, table, numbers: PhantomData })
    }

    /// From packed weights, which are used in place.
    ///
    /// # Errors
    /// As [`from_packed`].
    pub fn from_packed(
        info: &'static NetworkInfo,
        plan: impl FnOnce(Isa) -> Option<&'static QuantPlan<'static>>,
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

    /// The instruction set whose kernels run.
    #[inline]
    pub fn isa(&self) -> Detected {
        self.base.isa
    }

    /// The packed block.
    #[inline]
    pub fn block(&self) -> &[u8] {
        bytes(self.base.packed.lines())
    }

    /// Bytes of the packed block.
    pub fn packed_bytes(&self) -> usize {
        size_of_val(self.base.packed.lines())
    }

    /// Whether the layer of this name takes the fast inner product: quantized layers never do.
    pub fn is_fast(&self, _: Option<&'static QuantPlan<'static>>, _: &str) -> Option<bool> {
        None
    }

    /// Labels, and how pictures are framed.
    #[cfg(feature = "alloc")]
    pub fn metadata(&self) -> &crate::picture::ClassifierMetadata {
        &self.base.metadata
    }

    /// What the numbers at both ends stand for.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// An image of pixels, as it gets in.
    #[inline]
    pub fn pixels<'a>(&'a self, bytes: &'a [u8]) -> Pixels<'a> {
        Pixels { bytes, table: &self.table }
    }

    /// An image of real numbers, as it gets in.
    pub fn values<'a>(&self, values: &'a [f32]) -> Values<'a> {
        Values { values, quant: self.edges.input, integer: T::INTEGER }
    }

    /// The real numbers that logits represent.
    pub fn dequantize(&self, logits: &[T], to: &mut [f32]) {
        dequantize(self.edges.logits, logits, to);
    }
}
