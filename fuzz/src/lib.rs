//! What the fuzz targets do with their bytes: the way in that users take, and what must hold of what comes out.
//!
//! A finding is a panic, a stack overflow, memory or time out of proportion ([`memory`], and libFuzzer's own limits), or
//! a reader that succeeds and hands out something that the next stage refuses.

mod memory;
mod models;
pub mod mutate;
mod networks;
pub mod sidecars;
mod specs;
mod texts;

pub use models::{hdf5, keras, onnx, state_dict, tflite, torch};
pub use networks::{container, packed, seeds};
pub use specs::{compile, spec};
pub use texts::{framing, labels};
