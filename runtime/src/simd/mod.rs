//! Vectors of float32 under one vocabulary, a module for each instruction set.
//!
//! Generated kernels name nothing but what stands here, so that one loop nest serves every set:
//! `load`, `load_first`, `splat`, `store`, `store_first`, `fma`, `fma_lane`, `add`, `mul`, `relu`, `relu6`.

#![allow(clippy::missing_safety_doc, reason = "clippy takes functions with a target feature for unsafe ones")]

mod area;
pub mod bytes;
mod view;

pub use area::{Area, parts};
pub use view::{Dst, Src, ask};

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;
