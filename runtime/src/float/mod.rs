//! Float networks: the model, and how its weights are packed.

mod model;
pub(crate) mod pack;

pub use model::Model;
