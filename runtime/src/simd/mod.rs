//! The SIMD vocabularies of generated kernels, and the views of memory that they read and write.
//!
//! Float kernels use only names that every module of [`float`] defines, so that one loop nest serves every instruction
//! set: `load`, `load_first`, `splat`, `store`, `store_first`, `fma`, `fma_lane`, `add`, `mul`, `relu`, `relu6`.
//! Those of bf16 networks also use `load_pairs`, `splat_pair`, `splat_single`, `even`, `odd`, `dot`, `load_bf16`,
//! `load_bf16_first`, `store_bf16`, `store_bf16_first`. AMX kernels also use [`Src::tiles`],
//! and `Sums` and `multiply`, which only `amxbf16` defines. Their networks use `ReleaseTiles`. Quantized kernels use the
//! vocabulary of [`quantized`]. `bytes` scales pictures.
//!
//! Functions of a vocabulary are safe to call where the target features are enabled: all memory that they access
//! belongs to a view, and only `unsafe` constructors create views. Their contract includes the tile registers.

#![allow(clippy::missing_safety_doc, reason = "clippy treats functions with target features as unsafe")]

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
mod area;
#[cfg(all(feature = "alloc", target_arch = "x86_64"))]
pub(crate) mod bytes;
pub mod float;
pub mod quantized;
mod view;

pub use area::{Area, parts};
pub use view::{Dst, Src, prefetch};
