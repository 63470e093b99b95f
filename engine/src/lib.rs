//! Runs specs that are not compiled into a program: generated code is compiled with `rustc`, cached, and loaded as a
//! dynamic library.
//!
//! ```text
//! Source -> Program -> Network                                  run here: carried by this binary, or compiled and cached
//! Source -> Compiled -> rustc -> cache -> Library -> Model      a network that is compiled
//!                    -> rustc -> Artifact                       a program, a C library or a web package with its weights
//!                    -> Standalone                              a crate
//! Bundle -> Network                                             a model file, with its weights and its library
//! Network -> Classifier, Caller                                 scores of pictures, and the buffers of a thread
//! ```
//!
//! This crate does not write to a terminal. Long work is reported to a [`Progress`], failures are returned as
//! [`Error`]s.

#![warn(missing_docs)]

pub mod artifact;
mod bundle;
mod cache;
mod caller;
mod callers;
#[cfg(test)]
mod carried;
mod chain;
mod classifier;
mod error;
mod file;
pub mod library;
mod modules;
mod packed;
pub mod parallel;
mod program;
mod progress;
pub mod rustc;
mod shared;
mod source;
pub mod source_text;
pub mod standalone;
pub mod temporary;
mod weights;

pub use bundle::Bundle;
pub use cache::Cache;
pub use caller::Caller;
pub use callers::{Callers, Lease};
pub use classifier::{Classifier, best};
pub use error::{Error, Result};
pub use file::NewFile;
pub use library::{Library, Model};
pub use packed::pack;
pub use program::Program;
pub use progress::{Progress, Silent};
pub use source::{Source, module};
pub use weights::{check, random_weights};
