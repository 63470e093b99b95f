//! Quantized networks in containers: conversion on import (`keep`) and validation (`check`).

mod check;
mod keep;
#[cfg(test)]
mod tests;

pub use check::{check, is_parameter_of, pool};
pub use keep::keep;
