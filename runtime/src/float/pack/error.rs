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
    /// A tensor is of another length than the plan says.
    Size {
        /// The tensor's.
        name: &'a str,
        /// Bytes.
        expected: usize,
        /// Bytes.
        found: usize,
    },
    /// A tensor is of another type than the plan says.
    Type {
        /// The tensor's.
        name: &'a str,
        /// What the network needs.
        expected: Dtype,
        /// What the weights hold.
        found: Dtype,
    },
    /// A scale, or what follows from it, is beyond what the arithmetic of quantized networks takes.
    OutOfRange(&'a str),
    /// The block to pack into is longer or shorter than the plan says.
    BlockSize {
        /// Cache lines of 64 bytes.
        expected: usize,
        /// Cache lines of 64 bytes.
        found: usize,
    },
    /// The file to pack into is longer or shorter than [`packed_file_bytes`](crate::packed_file_bytes) says.
    FileSize {
        /// Bytes.
        expected: usize,
        /// Bytes.
        found: usize,
    },
    /// The file does not lie at a multiple of 64 bytes.
    Alignment,
    /// The network has no kernels for it.
    NotCompiled(Isa),
    /// The weights' metadata cannot be read.
    Convention(ConventionError),
    /// The weights were made for another activation, padding or precision.
    Differs {
        /// `activation`, `padding` or `precision`.
        field: &'static str,
        /// The network's word for it, such as `relu6`.
        needed: &'static str,
    },
    /// Names of classes that take more than 4 GiB.
    Text,
    /// `MBVC_NUMERICS` is none of the names.
    Numerics(NumericsError),
}

impl core::fmt::Display for PackError<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "the weights have no tensor `{name}`"),
            Self::Size { name, expected, found } => write!(f, "`{name}` holds {found} bytes, not {expected}"),
            Self::Type { name, expected, found } => {
                write!(f, "`{name}` is of {}, the network needs {}", found.name(), expected.name())
            }
            Self::OutOfRange(name) => write!(
                f,
                "the scales around `{name}` are out of range: that of a sum must be from 2^-32 to 256 times the result's \
                 and no sum beyond 2^30 steps of it, \
                 those of what is added from 2^-10 to 256 times; quantize the model anew"
            ),
            Self::FileSize { expected, found } => write!(f, "the packed file has {expected} bytes, not {found}"),
            Self::Alignment => f.write_str("the packed file must lie at an address that is a multiple of 64"),
            Self::NotCompiled(isa) => {
                write!(f, "the network was compiled without {isa}; add it to `isa` in the spec or the macro")
            }
            Self::Convention(error) => error.fmt(f),
            Self::Differs { field, needed } => {
                write!(
                    f,
                    "the network's {field} is {needed}, that of the weights is another; use the spec of the weights"
                )
            }
            Self::Text => f.write_str("the names of the classes take more than 4 GiB; import the model again"),
            Self::Numerics(error) => error.fmt(f),
            Self::BlockSize { expected, found } => {
                write!(f, "packing needs a block of {expected} cache lines, not {found}")
            }
        }
    }
}

impl core::error::Error for PackError<'_> {}
