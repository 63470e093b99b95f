//! Quantized networks: the layout of packed parameters, and the conversion of images.
//!
//! All values between the image and the logits are bytes from 0 to 255: those of int8 networks have 128 added.

pub mod arithmetic;
mod average;
mod bounds;
mod dot_form;
mod edges;
pub(crate) mod header;
mod image;
mod model;
mod outlier_checks;
pub mod outliers;
mod pack;
mod plan;
mod tensors;
mod weight_sums;

pub use average::average;
pub use dot_form::DotForm;
pub use edges::{Edges, Integral, dequantize};
pub use header::{HEADER, is_general, pad};
pub use image::{Pixels, Quantized, Table, Values, image_bytes};
pub use model::Model;
pub use plan::{ChannelOrder, Matrix, Named, PanelRun, QuantLayer, QuantPlan, Taps, finish_bytes};
