//! Fuzz targets: each passes bytes to an entry point of users, and checks the result.
//!
//! A finding is a panic, a stack overflow, excessive memory or time ([`memory`], and libFuzzer's limits), or a reader
//! that succeeds with a result that the next stage rejects.

mod c_interface;
mod memory;
mod models;
pub mod mutate;
mod networks;
pub mod sidecars;
mod specs;
mod texts;

pub use c_interface::c_interface;
pub use models::{hdf5, keras, onnx, state_dict, tfjs, tflite, torch};
pub use networks::{classify, container, packed, seeds};
pub use specs::{compile, spec};
pub use texts::{framing, labels};
