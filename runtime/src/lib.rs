#![no_std]
//! What code that mbvc generates needs at run time, without allocation and without dependencies.

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
mod build;
mod classify;
mod container;
mod conventions;
mod isa;
mod json;
mod network;
mod pack;
mod packed;
mod preprocess;
mod scratch;
pub mod simd;
pub use simd::{Dst, Src};
mod stream;
#[cfg(feature = "alloc")]
mod weights;

#[cfg(feature = "alloc")]
pub use alloc::boxed::Box;
#[cfg(feature = "alloc")]
pub use build::{Mismatch, ModelError, build};
pub use classify::{softmax, top_k};
pub use container::{
    Container, ContainerError, Dtype, F32s, MAX_HEADER_BYTES, MAX_METADATA, MAX_RANK, MAX_TENSORS, Shape, TensorRule,
    TensorView,
};
pub use conventions::{Activation, ConventionError, Conventions, FORMAT, Padding, Precision};
pub use isa::{Detected, Isa, IsaError, choose};
pub use json::{JsonRule, JsonStr};
pub use network::{
    Dynamic, Layer, LengthError, Model, Network, NetworkInfo, Observer, Output, Parameter, Stage, Step, Unobserved,
};
pub use pack::{PackError, PackOp, PackPlan};
pub use packed::{PackedError, from_packed, pack_file, packed_file_bytes};
pub use preprocess::{Preprocess, PreprocessError};
pub use scratch::{Line, Packed, Scratch, parts};
pub use stream::{Image, Pixels, Zeros, clear_sides, copy_pixels, dst, ring_rows, src};
#[cfg(feature = "alloc")]
pub use weights::{Weights, WeightsError};

/// A remark in generated code: nothing is compiled, `mbvc emit` prints it as a comment.
#[macro_export]
macro_rules! note {
    ($text:literal) => {};
}

/// Items of generated code that need a heap.
#[cfg(feature = "alloc")]
#[macro_export]
macro_rules! with_alloc {
    ($($item:tt)*) => { $($item)* };
}

/// Items of generated code that need a heap: none without one.
#[cfg(not(feature = "alloc"))]
#[macro_export]
macro_rules! with_alloc {
    ($($item:tt)*) => {};
}
