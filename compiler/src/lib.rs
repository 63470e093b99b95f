//! The mbvc compiler.

pub mod ir;
pub mod spec;
