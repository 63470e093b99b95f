#![no_std]
#![warn(missing_docs)]
//! The run-time support of code that mbvc generates: SIMD operations, packing, weights and threads, without
//! dependencies.

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod bf16;
mod buffers;
#[cfg(feature = "alloc")]
mod build;
// The build script, whose rules are tested here.
#[cfg(test)]
#[allow(dead_code, unreachable_pub)]
mod cfg;
mod classify;
mod conventions;
#[cfg(feature = "alloc")]
mod fit;
pub mod float;
mod formats;
mod isa;
mod lazy;
mod network;
mod number;
mod numerics;
#[cfg(feature = "peak")]
pub mod peak;
#[cfg(feature = "alloc")]
mod picture;
#[cfg(feature = "std")]
mod pool;
mod preprocess;
pub mod quantized;
mod scratch;
pub mod simd;
pub use simd::{Area, Dst, Src, parts};
#[cfg(feature = "sources")]
pub mod sources;
mod steps;
mod stream;
mod team;
#[cfg(feature = "alloc")]
mod weights;

#[cfg(feature = "alloc")]
pub use alloc::boxed::Box;
#[cfg(feature = "alloc")]
pub use alloc::{string::String, vec::Vec};
pub use bf16::Bf16;
pub use buffers::{Buffers, Output};
#[cfg(feature = "alloc")]
pub use build::{ModelError, build};
pub use classify::{softmax, top_k};
pub use conventions::{Activation, Color, ConventionError, Conventions, FORMAT, HeadActivation, Padding, Precision};
#[cfg(feature = "alloc")]
pub use fit::{Listing, Mismatch, Remedy};
pub use float::pack::{Factors, OutputRange, PackError, PackLayer, PackPanels, PackPlan, Plan};
pub use formats::container::{
    Container, ContainerError, Declared, Dtype, F32s, Header, MAX_HEADER_BYTES, MAX_METADATA, MAX_RANK, MAX_TENSORS,
    Shape, TensorRule, TensorView,
};
pub use formats::json::{JsonRule, JsonStr};
#[cfg(feature = "alloc")]
pub use formats::packed::packed_in_memory;
pub use formats::packed::{PackedError, PackedHeader, PackedText, Packing, from_packed, pack_file, packed_file_bytes};
pub use isa::{Detected, Isa, IsaError, choose};
pub use lazy::Lazy;
pub use network::{
    BaseModel, Dynamic, Layer, LengthError, Needs, Network, NetworkInfo, Observer, Parameter, Stage, Step, Unobserved,
};
pub use number::{Number, numbers};
pub use numerics::{Numerics, NumericsError};
#[cfg(feature = "alloc")]
pub use picture::{
    ClassifierMetadata, Filter, Fit, Framing, FramingError, Guess, Picture, PictureError, Rgb, classify, frame,
};
#[cfg(feature = "std")]
pub use pool::*;
pub use preprocess::{Preprocess, PreprocessError};
pub use scratch::{Aligned, Line, Packed, Scratch, bytes_of_floats};
pub use steps::{Stepped, Steps};
pub use stream::{Image, Pixels, Zeros, clear_sides, copy_pixels, dst, image_row, is_fast, ring_rows, src};
pub use team::{Solo, Team, clip, within};
#[cfg(not(feature = "std"))]
pub use team::{start_workers, together};
#[cfg(feature = "alloc")]
pub use weights::{Weights, WeightsError};

/// A remark in generated code. It compiles to nothing; `mbvc emit` prints it as a comment.
#[macro_export]
macro_rules! note {
    ($text:literal) => {};
}

/// Repeats the statements with the constants `LANE` and `ROW` from 0 to 3. Instructions that select a lane require a
/// constant.
#[macro_export]
macro_rules! each_lane {
    ($($statements:tt)*) => {
        { const LANE: i32 = 0; const ROW: usize = 0; $($statements)* }
        { const LANE: i32 = 1; const ROW: usize = 1; $($statements)* }
        { const LANE: i32 = 2; const ROW: usize = 2; $($statements)* }
        { const LANE: i32 = 3; const ROW: usize = 3; $($statements)* }
    };
}

/// Repeats the statements with each index as a constant, so that an array that they index is kept in registers even if
/// the optimizer would not unroll a loop.
#[macro_export]
#[rustfmt::skip]
macro_rules! unroll {
    ($index:ident in 0..1 $body:tt) => { $crate::each!($index [0] $body) };
    ($index:ident in 0..2 $body:tt) => { $crate::each!($index [0 1] $body) };
    ($index:ident in 0..3 $body:tt) => { $crate::each!($index [0 1 2] $body) };
    ($index:ident in 0..4 $body:tt) => { $crate::each!($index [0 1 2 3] $body) };
    ($index:ident in 0..5 $body:tt) => { $crate::each!($index [0 1 2 3 4] $body) };
    ($index:ident in 0..6 $body:tt) => { $crate::each!($index [0 1 2 3 4 5] $body) };
    ($index:ident in 0..7 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6] $body) };
    ($index:ident in 0..8 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7] $body) };
    ($index:ident in 0..9 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8] $body) };
    ($index:ident in 0..10 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9] $body) };
    ($index:ident in 0..11 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10] $body) };
    ($index:ident in 0..12 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11] $body) };
    ($index:ident in 0..13 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12] $body) };
    ($index:ident in 0..14 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13] $body) };
    ($index:ident in 0..15 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14] $body) };
    ($index:ident in 0..16 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] $body) };
    ($index:ident in 0..17 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16] $body) };
    ($index:ident in 0..18 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17] $body) };
    ($index:ident in 0..19 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18] $body) };
    ($index:ident in 0..20 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19] $body) };
    ($index:ident in 0..21 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20] $body) };
    ($index:ident in 0..22 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21] $body) };
    ($index:ident in 0..23 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22] $body) };
    ($index:ident in 0..24 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23] $body) };
    ($index:ident in 0..25 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24] $body) };
    ($index:ident in 0..26 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25] $body) };
    ($index:ident in 0..27 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26] $body) };
    ($index:ident in 0..28 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27] $body) };
    ($index:ident in 0..29 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28] $body) };
    ($index:ident in 0..30 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29] $body) };
    ($index:ident in 0..31 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30] $body) };
    ($index:ident in 0..32 $body:tt) => { $crate::each!($index [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31] $body) };
}

/// Repeats the block for each of the listed indices.
#[doc(hidden)]
#[macro_export]
macro_rules! each {
    ($index:ident [$($value:literal)*] $body:tt) => { $({ const $index: usize = $value; $body })* };
}

/// Expands to nothing, because there is a heap.
#[cfg(feature = "alloc")]
#[macro_export]
macro_rules! needs_alloc {
    ($why:literal) => {};
}

/// Expands to a compile error, because there is no heap.
#[cfg(not(feature = "alloc"))]
#[macro_export]
macro_rules! needs_alloc {
    ($why:literal) => {
        ::core::compile_error!($why);
    };
}

/// Hides a trip count from the optimizer.
#[inline(always)]
pub fn unseen(count: usize) -> usize {
    core::hint::black_box(count)
}

/// Expands to items of generated code that need a heap.
#[cfg(feature = "alloc")]
#[macro_export]
macro_rules! with_alloc {
    ($($item:tt)*) => { $($item)* };
}

/// Drops items of generated code that need a heap, because there is none.
#[cfg(not(feature = "alloc"))]
#[macro_export]
macro_rules! with_alloc {
    ($($item:tt)*) => {};
}
