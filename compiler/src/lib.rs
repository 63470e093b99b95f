//! The mbvc compiler.

pub mod codegen;
pub mod diagnostic;
pub mod ir;
pub mod spec;
