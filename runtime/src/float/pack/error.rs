//! Why weights could not be packed.

use crate::conventions::ConventionError;
use crate::formats::container::Dtype;
use crate::isa::Isa;
use crate::numerics::NumericsError;

/// Why weights could not be packed. Names of tensors are borrowed from the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackError<'a> {
    /// There is no tensor of this name.
    Missing(&'a str),
    /// A tensor has another length than the plan requires.
    Size {
        /// Name of the tensor.
        name: &'a str,
        /// Bytes.
        expected: usize,
        /// Bytes that were found.
        found: usize,
    },
    /// A tensor has another type than the plan requires.
    Type {
        /// Name of the tensor.
        name: &'a str,
        /// What the network needs.
        expected: Dtype,
        /// What the weights hold.
        found: Dtype,
    },
    /// A scale, or a value derived from it, is out of the range of quantized arithmetic.
    OutOfRange(&'a str),
    /// The block to pack into has another length than the plan requires.
    BlockSize {
        /// Cache lines of 64 bytes.
        expected: usize,
        /// Cache lines of 64 bytes.
        found: usize,
    },
    /// The file to pack into has another length than [`packed_file_bytes`](crate::packed_file_bytes) returns.
    FileSize {
        /// Bytes.
        expected: usize,
        /// Bytes that were found.
        found: usize,
    },
    /// The file is not aligned to 64 bytes.
    Alignment,
    /// The network was compiled without this instruction set.
    NotCompiled(Isa),
    /// The weights' metadata cannot be read.
    Convention(ConventionError),
    /// The weights are for another activation, padding or precision.
    Differs {
        /// `activation`, `padding` or `precision`.
        field: &'static str,
        /// Value that the network requires, such as `relu6`.
        needed: &'static str,
    },
    /// The names of the classes take more than 4 GiB.
    Text,
    /// `MBVC_NUMERICS` has an unknown value.
    Numerics(NumericsError),
}

impl core::fmt::Display for PackError<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "the weights have no tensor `{name}`"),
            Self::Size { name, expected, found } => write!(f, "`{name}`: expected {expected} bytes, found {found}"),
            Self::Type { name, expected, found } => {
                write!(f, "`{name}`: expected type {}, found {}", expected.name(), found.name())
            }
            Self::OutOfRange(name) => write!(
                f,
                "the scales around `{name}` are out of range: that of a sum must be from 2^-32 to 256 times the result's \
                 and no sum beyond 2^30 steps of it, \
                 those of what is added from 2^-10 to 256 times; quantize the model anew"
            ),
            Self::FileSize { expected, found } => {
                write!(f, "expected a buffer of {expected} bytes for the packed file, found {found}")
            }
            Self::Alignment => f.write_str("the buffer of the packed file must be aligned to 64 bytes"),
            Self::NotCompiled(isa) => {
                write!(f, "the network was compiled without {isa}; add it to `isa` in the spec or the macro")
            }
            Self::Convention(error) => error.fmt(f),
            Self::Differs { field, needed } => {
                write!(
                    f,
                    "the network's {field} is {needed}, and the weights have another; use the spec of the weights"
                )
            }
            Self::Text => f.write_str("the names of the classes take more than 4 GiB; import the model again"),
            Self::Numerics(error) => error.fmt(f),
            Self::BlockSize { expected, found } => {
                write!(f, "expected a block of {expected} cache lines, found {found}")
            }
        }
    }
}

impl core::error::Error for PackError<'_> {}
