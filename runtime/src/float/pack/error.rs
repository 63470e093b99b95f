//! Why weights could not be packed.

use crate::conventions::ConventionError;
use crate::formats::container::Dtype;
use crate::isa::Isa;
use crate::numerics::NumericsError;

/// Why weights could not be packed. Names of tensors are borrowed from the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackError<'a> {
    /// The weights have no tensor with this name.
    Missing(&'a str),
    /// The length of a tensor differs from that in the plan.
    Size {
        /// Name of the tensor.
        name: &'a str,
        /// Bytes.
        expected: usize,
        /// Bytes that were found.
        found: usize,
    },
    /// The type of a tensor differs from that in the plan.
    Type {
        /// Name of the tensor.
        name: &'a str,
        /// Type that the network requires.
        expected: Dtype,
        /// Type in the weights.
        found: Dtype,
    },
    /// A float32 tensor has an infinite element or a NaN.
    NotFinite(&'a str),
    /// A weight of a bf16 network is beyond the range of bf16.
    BeyondBf16(&'a str),
    /// A scale, or a value derived from it, is out of the range of quantized arithmetic.
    OutOfRange(&'a str),
    /// The length of the block to pack into differs from that in the plan.
    BlockSize {
        /// Cache lines of 64 bytes.
        expected: usize,
        /// Cache lines of 64 bytes.
        found: usize,
    },
    /// The length of the file to pack into differs from [`packed_file_bytes`](crate::packed_file_bytes).
    FileSize {
        /// Bytes.
        expected: usize,
        /// Bytes that were found.
        found: usize,
    },
    /// The file is not aligned to 64 bytes.
    Alignment,
    /// The network was not compiled for this instruction set.
    NotCompiled(Isa),
    /// The weights' metadata cannot be read.
    Convention(ConventionError),
    /// The weights are for another activation, padding or precision.
    Differs {
        /// `activation`, `padding` or `precision`.
        field: &'static str,
        /// Value that the network requires, such as `relu6`.
        expected: &'static str,
        /// Value in the weights.
        found: &'static str,
    },
    /// Height and width of the network are not multiples of the number that the weights require.
    Resolution {
        /// `mbvc.size_multiple` of the weights.
        multiple: usize,
        /// Height and width of the network.
        found: [usize; 2],
    },
    /// The labels are longer than 4 GiB.
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
            Self::NotFinite(name) => write!(
                f,
                "`{name}` has infinite or NaN elements: the weights file is damaged, or the training diverged"
            ),
            Self::BeyondBf16(name) => {
                write!(
                    f,
                    "`{name}` has elements that round to infinity in bf16 (magnitude above 3.39e38); use `precision: f32`"
                )
            }
            Self::OutOfRange(name) => write!(
                f,
                "the scales of `{name}` are out of range: expected accumulator scales from 2^-32 to 256 times the output \
                 scale, accumulators of at most 2^30 output steps, and scales of residual operands from 2^-10 to 256 times \
                 that of their sum; quantize the model again"
            ),
            Self::FileSize { expected, found } => {
                write!(f, "expected a buffer of {expected} bytes for the packed file, found {found}")
            }
            Self::Alignment => f.write_str("the buffer of the packed file must be aligned to 64 bytes"),
            Self::NotCompiled(isa) => {
                write!(f, "the network was not compiled for {isa}; add it to `isa` in the spec or the macro")
            }
            Self::Convention(error) => error.fmt(f),
            Self::Differs { field, expected, found } => {
                write!(
                    f,
                    "{field}: expected {expected}, found {found}; use the spec that the weights were imported with"
                )
            }
            Self::Resolution { multiple, found: [height, width] } => write!(
                f,
                "resolution: expected multiples of {multiple}, found {height}x{width}; compile the network for such a size"
            ),
            Self::Text => f.write_str("the labels are longer than 4 GiB; import the model again"),
            Self::Numerics(error) => error.fmt(f),
            Self::BlockSize { expected, found } => {
                write!(f, "expected a block of {expected} cache lines, found {found}")
            }
        }
    }
}

impl core::error::Error for PackError<'_> {}
