//! Conventions that weights and their network share, as words in specs and metadata.

use core::fmt;

/// Version of a weights file's metadata that this crate reads and writes.
pub const FORMAT: &str = "1";

/// Conventions that weights were trained with, and that the network must share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conventions {
    /// Activation after every convolution except projections.
    pub activation: Activation,
    /// Activation after every dense layer before the classifier; `None` without such layers.
    pub dense_activation: Option<Activation>,
    /// Padding of the stem and of every depthwise convolution.
    pub padding: Padding,
    /// Number type of weights and activations.
    pub precision: Precision,
    /// Number of logits, including a background class.
    pub classes: usize,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            #[allow(dead_code, reason = "some words are in no metadata")]
            pub(crate) const WORDS: &'static str = concat!("one of" $(, " `", $word, "`")+);

            /// Returns the word in specs and metadata.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Returns the variant with this [`word`](Self::word), if there is one.
            pub fn from_word(word: &str) -> Option<Self> {
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
    /// Activation after every convolution except linear ones.
    Activation {
        /// `min(max(x, 0), 6)`
        Relu6 = "relu6",
        /// `max(x, 0)`
        Relu = "relu",
    }
}

words! {
    /// Colors of the pixels that a network reads.
    Color {
        /// Red, green and blue.
        Rgb = "rgb",
        /// Luma only: one channel.
        Gray = "gray",
    }
}

impl Color {
    /// Name of the weights of a network's first convolution, `[kh, kw, in, out]`.
    pub const STEM: &'static str = "stem.weight";

    /// Returns the number of channels of a pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Gray => 1,
        }
    }

    /// Returns the colors that a network with this [`STEM`](Self::STEM) reads, if a network can have it.
    pub fn of_stem(shape: &[usize]) -> Option<Self> {
        let [_, _, channels, _] = shape else { return None };
        [Self::Rgb, Self::Gray].into_iter().find(|color| color.channels() == *channels)
    }
}

words! {
    /// Padding of a 3x3 convolution.
    Padding {
        /// TensorFlow's SAME: as much as the output size requires, with an odd row at the bottom and an odd column on
        /// the right.
        Same = "same",
        /// One pixel on all four sides.
        Symmetric = "symmetric",
    }
}

words! {
    /// Number type of weights and activations.
    Precision {
        /// IEEE 754 single precision.
        F32 = "f32",
        /// float32, with the operands of 1x1 convolutions and the weights of dense layers rounded to bf16.
        Bf16 = "bf16",
        /// Signed 8-bit integers: symmetric weights with a scale per output channel.
        Int8 = "int8",
        /// Unsigned 8-bit integers: one scale and one zero point per layer's weights.
        Uint8 = "uint8",
    }
}

words! {
    /// Function from the logits of a network to the scores of its classes. It is stored with the weights.
    HeadActivation {
        /// Probabilities that sum to 1: one class applies to a picture.
        Softmax = "softmax",
        /// Natural logarithms of the probabilities that [`Softmax`](Self::Softmax) yields.
        LogSoftmax = "log_softmax",
        /// Independent probabilities `1 / (1 + exp(-logit))`: any number of classes may apply. With a single logit
        /// there are two classes: the sigmoid is the probability of class 1, the second label.
        Sigmoid = "sigmoid",
        /// The logits are the scores.
        None = "none",
    }
}

impl Precision {
    /// Whether a value `q` represents `scale * (q - zero_point)`.
    pub const fn is_quantized(self) -> bool {
        matches!(self, Self::Int8 | Self::Uint8)
    }

    /// Returns the precision of the weights file of a network. A bf16 network rounds float32 weights when it packs
    /// them.
    pub const fn of_weights(self) -> Self {
        match self {
            Self::F32 | Self::Bf16 => Self::F32,
            Self::Int8 => Self::Int8,
            Self::Uint8 => Self::Uint8,
        }
    }
}

/// Metadata is missing, or this version cannot read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConventionError {
    /// The metadata has no `mbvc.format`: another program wrote the file.
    NotOurs,
    /// `mbvc.format` has an unsupported version.
    Format,
    /// A key is missing.
    Missing {
        /// Such as `mbvc.padding`.
        key: &'static str,
    },
    /// A key has an unknown value.
    Value {
        /// Such as `mbvc.padding`.
        key: &'static str,
        /// Expected value, such as `a whole number from 1`.
        expected: &'static str,
    },
}

impl fmt::Display for ConventionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str(
                "not a weights file of mbvc: its metadata has no `mbvc.format`; \
                 create one from a model with `mbvc import MODEL`",
            ),
            Self::Format => write!(
                f,
                "unsupported version in metadata `mbvc.format`: expected {FORMAT}; \
                 import the model again with this version of mbvc"
            ),
            Self::Missing { key } => write!(f, "metadata `{key}` is missing; import the model again"),
            Self::Value { key, expected } => {
                write!(f, "metadata `{key}` must be {expected}; import the model again")
            }
        }
    }
}

impl core::error::Error for ConventionError {}
