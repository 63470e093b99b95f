#![doc = include_str!("../docs/guide/index.md")]

#[doc = include_str!("../docs/guide/one_layer.md")]
pub mod one_layer {}

#[doc = include_str!("../docs/guide/fusion.md")]
pub mod fusion {}

#[doc = include_str!("../docs/guide/own_model.md")]
pub mod own_model {}

#[doc = include_str!("../docs/guide/profile.md")]
pub mod profile {}

#[doc = include_str!("../docs/guide/numerics.md")]
pub mod numerics {}
