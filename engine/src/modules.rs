//! Modules beside the generated code in a compiled library.

/// The functions of the library's boundary.
pub const DRIVER: &str = include_str!("carried/driver.rs");
/// The encoding of the network's facts.
pub const FACTS: &str = include_str!("carried/facts.rs");
