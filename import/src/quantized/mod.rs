//! Quantized networks in containers: written by `keep`, checked here when they are read.

mod check;
mod keep;
#[cfg(test)]
mod tests;

pub use check::{check, is_parameter_of, pool};
pub use keep::keep;
