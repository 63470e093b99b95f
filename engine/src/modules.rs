//! Modules that are compiled with the generated code of a library.

/// The functions of the library's boundary.
pub const DRIVER: &str = include_str!("carried/driver.rs");
/// The encoding of the network's facts.
pub const FACTS: &str = include_str!("carried/facts.rs");
