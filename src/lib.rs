// Nothing is compiled anew where the text has changed.
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]
#![no_std]

pub use mbvc_macros::mobilenet_v2;
pub use mbvc_runtime::{
    Activation, Container, ContainerError, ConventionError, Conventions, Declared, Dtype, F32s, Header, Isa, IsaError,
    JsonRule, JsonStr, Layer, LengthError, Network, NetworkInfo, Numerics, NumericsError, Observer, PackedError,
    Padding, Parameter, Precision, Preprocess, PreprocessError, Scratch, Shape, Stage, Step, TensorRule, TensorView,
    Unobserved, softmax, top_k,
};
#[cfg(feature = "alloc")]
pub use mbvc_runtime::{
    Filter, Fit, Framing, FramingError, Guess, Mismatch, ModelError, Picture, PictureError, Rgb, Weights, WeightsError,
};

/// Why the weights of a generated network could not be packed.
pub type PackError = mbvc_runtime::PackError<'static>;

/// How the compiler works, and how to bring a model of one's own.
#[cfg(any(doc, doctest))]
pub mod guide;

/// What generated code names, and nobody else: a release build does not check what these functions read and write.
#[doc(hidden)]
pub use mbvc_runtime as __runtime;
