//! The vocabularies of generated kernels, and the views of memory that they read and write.
//!
//! Float kernels name nothing but what a module of [`float`] has, so that one loop nest serves every instruction set:
//! `load`, `load_first`, `splat`, `store`, `store_first`, `fma`, `fma_lane`, `add`, `mul`, `relu`, `relu6`. Quantized
//! kernels take the vocabulary of [`quantized`].

#![allow(clippy::missing_safety_doc, reason = "clippy takes functions with a target feature for unsafe ones")]

mod area;
pub mod float;
pub mod quantized;
mod view;

pub use area::{Area, parts};
pub use view::{Dst, Src, prefetch};
