//! Errors of invalid weights files: the violated rule, its location, and the remedy.

use core::fmt;

use super::limits::{MAX_HEADER_BYTES, MAX_RANK};
use crate::formats::json::{JsonRule, JsonStr};

/// Error of an invalid weights file (safetensors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerError<'a> {
    /// The file is too short for the header's length.
    NoHeader {
        /// Length of the file, below eight.
        file_bytes: usize,
    },
    /// The file is a packed file.
    Packed,
    /// The declared length is above [`MAX_HEADER_BYTES`].
    HeaderTooLong {
        /// Length that the first eight bytes of the file declare.
        header_bytes: u64,
    },
    /// The file ends within the declared header.
    HeaderCut {
        /// Length that the first eight bytes of the file declare, without those eight bytes.
        header_bytes: u64,
        /// Length of the file.
        file_bytes: usize,
    },
    /// The header is not valid safetensors JSON.
    Header {
        /// Offset in the file, in bytes.
        at: usize,
        /// Rule that the text violates.
        rule: JsonRule,
    },
    /// `__metadata__` is repeated.
    TwoMetadata {
        /// Offset of the second one in the file, in bytes.
        at: usize,
    },
    /// There are more tensors or metadata entries than a weights file may have.
    TooMany {
        /// `tensors` or `metadata entries`.
        what: &'static str,
        /// [`MAX_TENSORS`](super::MAX_TENSORS) or [`MAX_METADATA`](super::MAX_METADATA).
        limit: usize,
    },
    /// A key of `__metadata__` is repeated.
    DuplicateMetadata {
        /// The repeated key.
        key: JsonStr<'a>,
    },
    /// A tensor violates a rule.
    Tensor {
        /// Name of the tensor.
        name: JsonStr<'a>,
        /// Rule that the tensor violates.
        rule: TensorRule<'a>,
    },
    /// Some bytes of the data belong to no tensor.
    NotCovered {
        /// Total bytes of all tensors.
        tensor_bytes: usize,
        /// Bytes of the file after its header.
        data_bytes: usize,
    },
}

/// Rule that a tensor of the header violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorRule<'a> {
    /// The element type is unknown to safetensors, or does not consist of whole bytes.
    Dtype {
        /// Text found instead of the type.
        found: JsonStr<'a>,
    },
    /// There are more than [`MAX_RANK`] dimensions.
    Rank,
    /// `dtype`, `shape` or `data_offsets` is missing or has an invalid value.
    Malformed {
        /// `dtype`, `shape` or `data_offsets`.
        key: &'static str,
    },
    /// The key is unknown to safetensors.
    Unknown {
        /// The unknown key.
        key: JsonStr<'a>,
    },
    /// A key is repeated.
    Repeated {
        /// `dtype`, `shape` or `data_offsets`.
        key: JsonStr<'a>,
    },
    /// Shape and type require more bytes than this machine can address.
    TooLarge,
    /// The byte range exceeds the data.
    Range {
        /// First byte, counted from the end of the header.
        begin: usize,
        /// End of the range, exclusive.
        end: usize,
        /// Bytes of the file after its header.
        data_bytes: usize,
    },
    /// The byte range has a different length than shape and type require.
    Size {
        /// Bytes according to shape and type.
        expected: usize,
        /// Bytes according to `data_offsets`.
        found: usize,
    },
    /// Another tensor has the same name.
    Duplicate,
    /// Another tensor overlaps this one.
    Overlaps {
        /// Name of the other tensor.
        other: JsonStr<'a>,
    },
}

impl fmt::Display for ContainerError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader { file_bytes } => write!(
                f,
                "not a weights file: {file_bytes} bytes cannot hold a safetensors header; \
                 create one from a model with `mbvc import`"
            ),
            Self::Packed => f.write_str(
                "expected a weights file, found packed weights; pass the weights file that they were packed from, or use \
                 `from_packed`",
            ),
            Self::HeaderTooLong { header_bytes } => write!(
                f,
                "not a weights file: expected a safetensors header of at most {MAX_HEADER_BYTES} bytes, \
                 found a length of {header_bytes}; create one from a model with `mbvc import`"
            ),
            Self::HeaderCut { header_bytes, file_bytes } => write!(
                f,
                "the file ends within its safetensors header: expected {header_bytes} bytes of header, \
                 found {file_bytes} bytes in total; copy or import the file again"
            ),
            Self::Header { at, rule } => {
                write!(f, "the safetensors header is invalid at byte {at}: {rule}; copy or import the file again")
            }
            Self::TwoMetadata { at } => {
                write!(f, "the safetensors header has a second `__metadata__` at byte {at}; keep one")
            }
            Self::TooMany { what, limit } => {
                write!(f, "more than {limit} {what}; a weights file contains one network of the MobileNetV2 family")
            }
            Self::DuplicateMetadata { key } => {
                write!(f, "duplicate metadata `{key}`; keep one, or import the file again")
            }
            Self::Tensor { name, rule } => write!(f, "tensor `{name}`: {rule}"),
            Self::NotCovered { tensor_bytes, data_bytes } => write!(
                f,
                "the tensors occupy {tensor_bytes} of {data_bytes} bytes of data, but must occupy all of them; \
                 copy or import the file again"
            ),
        }
    }
}

impl fmt::Display for TensorRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dtype { found } => write!(f, "unsupported element type `{found}`; import the file again"),
            Self::Rank => write!(f, "more than {MAX_RANK} dimensions; import the file again"),
            Self::Malformed { key } => write!(f, "`{key}` is missing or malformed; import the file again"),
            Self::Unknown { key } => {
                write!(f, "unknown key `{key}`; expected dtype, shape or data_offsets")
            }
            Self::Repeated { key } => write!(f, "duplicate `{key}`; keep one"),
            Self::TooLarge => f.write_str("its shape requires more bytes than this machine can address"),
            Self::Range { begin, end, data_bytes } => write!(
                f,
                "bytes {begin}..{end} are outside the {data_bytes} bytes of data; \
                 the file may be truncated; copy or import it again"
            ),
            Self::Size { expected, found } => write!(
                f,
                "its shape and element type require {expected} bytes, but data_offsets has {found}; import the file again"
            ),
            Self::Duplicate => f.write_str("two tensors have this name; import the file again"),
            Self::Overlaps { other } => {
                write!(f, "shares bytes with `{other}`; import the file again")
            }
        }
    }
}

impl core::error::Error for ContainerError<'_> {}
