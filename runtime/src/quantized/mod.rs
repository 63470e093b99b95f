//! Quantized networks: where their parameters lie in the packed block, and how the image gets in.
//!
//! Numbers are bytes from 0 to 255 everywhere between the image and the logits: those of int8 networks have 128 added.

pub mod arithmetic;
mod average;
mod edges;
mod form;
pub(crate) mod header;
mod image;
mod lists;
mod model;
mod pack;
mod proof;
mod read;
pub mod rest;
mod sums;

pub use average::average;
pub use edges::{Edges, Integral, dequantize};
pub use form::DotForm;
pub use header::{HEADER, is_general, pad};
pub use image::{Pixels, Quantized, Table, Values, image_bytes};
pub use model::Model;
pub use pack::{Matrix, Named, PanelRun, QuantLayer, QuantPlan, Taps, finish_bytes};
