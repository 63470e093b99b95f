// The documentation is not an input of ordinary builds, so that editing it does not cause a rebuild.
// The first definition of a link wins in Markdown: `links.md` and `charts.md` override the relative paths of the texts.
#![cfg_attr(any(doc, doctest), doc = include_str!("links.md"))]
#![cfg_attr(any(doc, doctest), doc = include_str!("charts.md"))]
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]
#![cfg_attr(doc, warn(missing_docs))]
#![no_std]

pub use mbvc_macros::mobilenet_v2;
pub use mbvc_runtime::{Bf16, Isa, Network, Observer, Scratch, Steps, Unobserved, softmax, top_k};
#[cfg(feature = "alloc")]
pub use mbvc_runtime::{Guess, Picture, Rgb, Weights};

#[cfg(all(doc, not(doctest)))]
pub mod example;
#[cfg(any(doc, doctest))]
pub mod guide;

/// Facts of a network that are known at compile time: layers, steps, tensors, number types.
pub mod info {
    pub use mbvc_runtime::{Layer, NetworkInfo, Numerics, Parameter, Precision, Stage, Step};
}

/// The weights file (safetensors): its tensors, and the conventions and preprocessing in its metadata.
///
/// [`Weights`] reads one. A [`Container`](weights::Container) is a view of one in memory and
/// needs no heap.
pub mod weights {
    pub use mbvc_runtime::{
        Activation, Container, Conventions, Declared, Dtype, F32s, HeadActivation, Header, JsonStr, Padding,
        Preprocess, Shape, TensorView,
    };
}

/// Conversion of a picture of any size to the network's input.
///
/// The pictures themselves, [`Picture`] and [`Rgb`], are at the root of the crate.
#[cfg(feature = "alloc")]
pub mod picture {
    pub use mbvc_runtime::{Filter, Fit, Framing};
}

/// The error types.
pub mod errors {
    /// Error returned if the weights of a generated network cannot be packed.
    pub type PackError = mbvc_runtime::PackError<'static>;
    pub use mbvc_runtime::{
        ContainerError, ConventionError, IsaError, JsonRule, LengthError, NumericsError, PackedError, PreprocessError,
        TensorRule,
    };
    #[cfg(feature = "alloc")]
    pub use mbvc_runtime::{FramingError, Mismatch, ModelError, PictureError, WeightsError};
}

#[cfg(feature = "demo")]
#[doc(hidden)]
pub mod __demo;

/// Items that generated code refers to. Not part of the public interface.
#[doc(hidden)]
pub use mbvc_runtime as __runtime;
