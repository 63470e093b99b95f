#![doc = include_str!("../README.md")]
#![no_std]

pub use mbvc_macros::mobilenet_v2;
pub use mbvc_runtime::*;

/// What generated code names.
#[doc(hidden)]
pub use mbvc_runtime as __runtime;
