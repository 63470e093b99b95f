//! Float networks: the model, and the packing of its weights.

mod model;
pub(crate) mod pack;

pub use model::Model;
