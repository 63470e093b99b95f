//! Weights files: safetensors, fully validated and read in place.
//!
//! Layout: the header's length as eight little-endian bytes, the header (a JSON object of tensors and
//! `__metadata__`), then the tensors' bytes. <https://huggingface.co/docs/safetensors>

mod error;
mod header;
mod index;
mod limits;
mod tensor;

pub use error::{ContainerError, TensorRule};
#[cfg(feature = "alloc")]
pub(crate) use header::Span;
pub use header::{Declared, Header};
#[cfg(feature = "alloc")]
pub(crate) use index::Index;
pub use limits::{MAX_HEADER_BYTES, MAX_METADATA, MAX_RANK, MAX_TENSORS};
pub use tensor::{Dtype, F32s, Shape, TensorView};

use crate::formats::json::JsonStr;

/// A validated weights file (safetensors) in memory. It allocates nothing. A look-up scans the header, or uses the
/// index of [`Weights`](crate::Weights).
///
/// ```
/// # fn main() -> Result<(), mbvc_runtime::ContainerError<'static>> {
/// static FILE: &[u8] = b"\x3d\0\0\0\0\0\0\0{\"a.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  \0\0\x80\x3f";
/// let container = mbvc_runtime::Container::parse(FILE)?;
/// let bias = container.tensor("a.bias").and_then(|t| t.f32s());
/// assert_eq!(bias.and_then(|b| b.get(0)), Some(1.0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    header: Header<'a>,
    data: &'a [u8],
}

impl<'a> Container<'a> {
    /// Checks every rule of the format: the header's length and JSON, each tensor's type, shape and byte range, unique
    /// names, and ranges that cover the data without gap or overlap.
    pub fn parse(file: &'a [u8]) -> Result<Self, ContainerError<'a>> {
        Ok(Self::with_header(Header::parse(file, file.len())?, file))
    }

    /// Finds header and data in bytes that [`Container::parse`] has accepted, with the metadata that it found.
    #[cfg(feature = "alloc")]
    pub(crate) fn parsed_before(file: &'a [u8], metadata: Option<Span>, index: &'a Index) -> Self {
        Self::with_header(Header::parsed_before(file, metadata, index), file)
    }

    fn with_header(header: Header<'a>, file: &'a [u8]) -> Self {
        Self { header, data: file.get(header.end()..).unwrap_or_default() }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn metadata_span(&self) -> Option<Span> {
        self.header.metadata_span()
    }

    /// Returns the header, without the tensors' bytes.
    pub fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// Returns the tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'a>> {
        self.header.named(name)?.view(self.data)
    }

    /// Returns all tensors in the header's order.
    pub fn tensors(&self) -> impl Iterator<Item = TensorView<'a>> + Clone + 'a {
        let data = self.data;
        self.header.entries().filter_map(move |entry| entry.view(data))
    }

    /// Returns the text of this key of `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<JsonStr<'a>> {
        self.header.metadata(key)
    }

    /// Returns all keys and values of `__metadata__` in the header's order.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (JsonStr<'a>, JsonStr<'a>)> + Clone + 'a {
        self.header.metadata_entries()
    }
}

#[cfg(test)]
mod tests;
