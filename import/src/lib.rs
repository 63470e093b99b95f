//! Weight readers for mbvc: ONNX, TFLite, Keras, TensorFlow.js, PyTorch and safetensors to mbvc's weights file (safetensors).
//!
//! ```text
//! bytes --onnx/tflite/keras/tfjs/torch--> SourceGraph --recognize--> Chain --fold--> tensors --recover--> Imported
//! ```
//! A reader translates a file to a `SourceGraph`, whose operations are those of the MobileNetV2 family and `Other`. One
//! recognizer for all formats matches that graph to the family, so that conventions (padding, activation, residuals)
//! are found in one place.
//!
//! [`calibrate`] quantizes float32 weights to int8.
//!
//! Input files are untrusted. Sizes are checked against the file's before anything is allocated, arithmetic on sizes is
//! checked, and every failure is an [`ImportError`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod adjust;
mod archive;
mod beside;
pub mod calibrate;
mod container;
mod detect;
mod error;
mod files;
mod fit;
mod fold;
mod hdf5;
mod imported;
mod inspect;
mod keras;
mod labels;
mod limits;
mod normalization;
mod onnx;
mod options;
mod published;
mod quantized;
mod read;
mod recognize;
mod recover;
mod source;
mod spec_yaml;
mod state_dict;
mod tensor;
mod text;
mod tfjs;
mod tflite;
mod torch;
mod trace;

pub use adjust::{Adjustments, LabelSource, check_mean, check_range, check_std, head_activation, read_adjusted};
pub use container::Container;
pub use error::{ErrorKind, ImportError};
pub use imported::Imported;
pub use inspect::{Inspection, TensorSummary, inspect, inspect_bytes, number};
pub use labels::Labels;
pub use options::{ConfigFiles, Quantization, ReadOptions};
pub use read::{read, read_bytes};
pub use recover::{Recovered, Row};
pub use source::{Fact, Format, Layout};
pub use tensor::{Data, Tensor};
pub use trace::{SourceTensor, Trace, Traced};

pub use mbvc_runtime::{Listing, Mismatch, Remedy};
