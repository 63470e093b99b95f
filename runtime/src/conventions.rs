//! What a container's metadata says of the network that its weights belong to.

use core::fmt;

use crate::formats::container::Header;
use crate::preprocess::Preprocess;

/// The version of the container's metadata that this crate writes and reads.
pub const FORMAT: &str = "1";

/// Conventions that weights were trained under and that the network has to share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conventions {
    /// After every convolution but the projections.
    pub activation: Activation,
    /// Of the stem and of every depthwise convolution.
    pub padding: Padding,
    /// Of weights and values.
    pub precision: Precision,
    /// Length of the logits, a background class included.
    pub classes: usize,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            pub(crate) const WORDS: &'static str = concat!("one of" $(, " `", $word, "`")+);

            /// The word in specs and metadata.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
#[cfg(feature = "alloc")]
pub(crate) use words;

words! {
    /// What follows every convolution but the linear ones.
    Activation {
        /// `min(max(x, 0), 6)`
        Relu6 = "relu6",
        /// `max(x, 0)`
        Relu = "relu",
    }
}

words! {
    /// Where the padding of a 3x3 convolution goes.
    Padding {
        /// TensorFlow's SAME: as much as the output size asks for, the odd row below and the odd column on the right.
        Same = "same",
        /// One on all four sides.
        Symmetric = "symmetric",
    }
}

words! {
    /// The arithmetic that the weights are stored for.
    Precision {
        /// IEEE 754 single precision.
        F32 = "f32",
        /// 8 bits with sign: symmetric weights with a scale for each output channel.
        Int8 = "int8",
        /// 8 bits without sign: one scale and one zero point for all weights of a layer.
        Uint8 = "uint8",
    }
}

impl Precision {
    /// Whether a value `q` stands for `scale * (q - zero_point)`.
    pub const fn is_quantized(self) -> bool {
        !matches!(self, Self::F32)
    }
}

/// Metadata that is missing, or that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConventionError {
    /// No `mbvc.format`: another program wrote the file.
    NotOurs,
    /// Written by another version of the format.
    Format,
    /// The key is missing.
    Missing {
        /// Such as `mbvc.padding`.
        key: &'static str,
    },
    /// The key's value is not among those that are known.
    Value {
        /// Such as `mbvc.padding`.
        key: &'static str,
        /// What it must be, such as "a whole number from 1".
        expected: &'static str,
    },
}

impl fmt::Display for ConventionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str(
                "a safetensors file without `mbvc.format` in its metadata, so not a weight container; \
                 make one from a model with `mbvc import`",
            ),
            Self::Format => write!(
                f,
                "`mbvc.format` is not {FORMAT}, the only one that this version reads; \
                 import the model again with the `mbvc` command of this version"
            ),
            Self::Missing { key } => write!(f, "metadata `{key}` is missing; import the model again"),
            Self::Value { key, expected } => {
                write!(f, "metadata `{key}` must be {expected}; import the model again")
            }
        }
    }
}

impl core::error::Error for ConventionError {}

impl Conventions {
    /// Reads `mbvc.format`, `mbvc.activation`, `mbvc.padding`, `mbvc.precision` and `mbvc.classes`.
    pub fn of(header: &Header<'_>) -> Result<Self, ConventionError> {
        match header.metadata("mbvc.format") {
            None => return Err(ConventionError::NotOurs),
            Some(format) if format != FORMAT => return Err(ConventionError::Format),
            Some(_) => {}
        }
        let classes = |text: &str| text.parse().ok().filter(|&n: &usize| n > 0);
        Ok(Self {
            activation: read(header, "mbvc.activation", Activation::WORDS, Activation::from_word)?,
            padding: read(header, "mbvc.padding", Padding::WORDS, Padding::from_word)?,
            precision: read(header, "mbvc.precision", Precision::WORDS, Precision::from_word)?,
            classes: read(header, "mbvc.classes", "a whole number from 1", classes)?,
        })
    }
}

impl Preprocess {
    /// Reads `mbvc.preprocessing`.
    pub fn of(header: &Header<'_>) -> Result<Self, ConventionError> {
        let expected = "`scale R G B offset R G B` with six finite numbers";
        read(header, "mbvc.preprocessing", expected, |text| Self::parse(text).ok())
    }
}

/// None of these values needs a JSON escape, so one that has any is none of the known ones.
pub(crate) fn read<T>(
    header: &Header<'_>,
    key: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ConventionError> {
    let text = header.metadata(key).ok_or(ConventionError::Missing { key })?;
    text.as_plain().and_then(parse).ok_or(ConventionError::Value { key, expected })
}
