//! Errors of containers: the broken rule, its place, and the remedy.

use core::fmt;

use super::limits::{MAX_HEADER_BYTES, MAX_RANK};
use crate::formats::json::{JsonRule, JsonStr};

/// Why bytes are not a valid container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerError<'a> {
    /// Too short to hold even the header's length.
    NoHeader {
        /// Length of the file: below eight.
        file_bytes: usize,
    },
    /// Weights that were packed already.
    Packed,
    /// The declared length is above [`MAX_HEADER_BYTES`].
    HeaderTooLong {
        /// What the first eight bytes of the file declare.
        header_bytes: u64,
    },
    /// The file ends within the declared header.
    HeaderCut {
        /// What the first eight bytes of the file declare; these do not count.
        header_bytes: u64,
        /// Length of the file.
        file_bytes: usize,
    },
    /// The header is not the JSON that safetensors requires.
    Header {
        /// Offset in the file, in bytes.
        at: usize,
        /// Rule that the text breaks.
        rule: JsonRule,
    },
    /// `__metadata__` is repeated.
    TwoMetadata {
        /// Offset of the second one in the file, in bytes.
        at: usize,
    },
    /// More tensors or metadata entries than one network has.
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
    /// One tensor breaks a rule.
    Tensor {
        /// The tensor that is at fault.
        name: JsonStr<'a>,
        /// What is wrong with it.
        rule: TensorRule<'a>,
    },
    /// The tensors leave bytes of the data unused.
    NotCovered {
        /// Bytes of all tensors together.
        tensor_bytes: usize,
        /// Bytes of the file behind its header.
        data_bytes: usize,
    },
}

/// The rule that a tensor of the header breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorRule<'a> {
    /// An element type that safetensors does not have, or that takes no whole bytes.
    Dtype {
        /// Text in place of the type.
        found: JsonStr<'a>,
    },
    /// More than [`MAX_RANK`] dimensions.
    Rank,
    /// `dtype`, `shape` or `data_offsets` is missing or is not what it must be.
    Member {
        /// Which of the three.
        key: &'static str,
    },
    /// A member that safetensors does not know.
    Unknown {
        /// Its name.
        key: JsonStr<'a>,
    },
    /// A member is repeated.
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
        /// The byte after the last.
        end: usize,
        /// Bytes of the file behind its header.
        data_bytes: usize,
    },
    /// The byte range has another length than shape and type require.
    Size {
        /// Bytes by shape and type.
        expected: usize,
        /// Bytes by `data_offsets`.
        found: usize,
    },
    /// Two tensors have this name.
    Duplicate,
    /// Two tensors share bytes.
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
                "not a weight container: {file_bytes} bytes cannot hold a safetensors header; \
                 make one from a model with `mbvc import`"
            ),
            Self::Packed => f.write_str(
                "expected a container, found packed weights; pass the container that they were packed from, or use `from_packed`",
            ),
            Self::HeaderTooLong { header_bytes } => write!(
                f,
                "not a weight container: not a safetensors file (the header would have {header_bytes} bytes, \
                 and at most {MAX_HEADER_BYTES} are allowed); make one from a model with `mbvc import`"
            ),
            Self::HeaderCut { header_bytes, file_bytes } => write!(
                f,
                "the file ends within its safetensors header: {header_bytes} bytes of header declared, \
                 {file_bytes} bytes in all; copy or import it again"
            ),
            Self::Header { at, rule } => {
                write!(f, "the safetensors header is broken at byte {at}: {rule}; copy or import the file again")
            }
            Self::TwoMetadata { at } => {
                write!(f, "the safetensors header has a second `__metadata__` at byte {at}; keep one")
            }
            Self::TooMany { what, limit } => {
                write!(f, "more than {limit} {what}; a container holds one network of the MobileNetV2 family")
            }
            Self::DuplicateMetadata { key } => {
                write!(f, "duplicate metadata `{key}`; keep one, or import the file again")
            }
            Self::Tensor { name, rule } => write!(f, "tensor `{name}`: {rule}"),
            Self::NotCovered { tensor_bytes, data_bytes } => write!(
                f,
                "the tensors take {tensor_bytes} of {data_bytes} bytes of data, and no byte may be left over; \
                 copy or import the file again"
            ),
        }
    }
}

impl fmt::Display for TensorRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dtype { found } => write!(f, "unknown element type `{found}`; a container holds F32"),
            Self::Rank => write!(f, "more than {MAX_RANK} dimensions; import the file again"),
            Self::Member { key } => write!(f, "`{key}` is missing or malformed; import the file again"),
            Self::Unknown { key } => {
                write!(f, "unknown member `{key}`; expected dtype, shape or data_offsets")
            }
            Self::Repeated { key } => write!(f, "duplicate `{key}`; keep one"),
            Self::TooLarge => f.write_str("its shape needs more bytes than this machine can address"),
            Self::Range { begin, end, data_bytes } => write!(
                f,
                "bytes {begin}..{end} are outside the {data_bytes} bytes of data; \
                 the file may be cut short: copy or import it again"
            ),
            Self::Size { expected, found } => write!(
                f,
                "its shape and element type need {expected} bytes, data_offsets has {found}; import the file again"
            ),
            Self::Duplicate => f.write_str("two tensors have this name; import the file again"),
            Self::Overlaps { other } => {
                write!(f, "shares bytes with `{other}`; import the file again")
            }
        }
    }
}

impl core::error::Error for ContainerError<'_> {}
