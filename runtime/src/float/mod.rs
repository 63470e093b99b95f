//! Float networks: how their weights are packed.

pub mod pack;
