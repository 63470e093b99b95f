//! Networks that are compiled into the `mbvc` command and into the Python package.
//!
//! The demo's network is always included. The feature `carry` adds the networks at 224x224 whose weights TensorFlow, Keras and
//! torchvision publish. It is meant for distributed binaries, whose users may have no Rust compiler. Without it, these
//! networks are compiled on first use.

#![warn(missing_docs)]

pub mod demo;
#[cfg(feature = "carry")]
mod published;

use mbvc::errors::ModelError;
use mbvc::{Isa, Network, Weights};
use mbvc_compiler::spec::{Fusion, NetworkSpec};

/// Text of the built-in spec, MobileNetV2 1.0 at 224x224.
pub const SPEC: &str = include_str!("../specs/v2.yaml");

/// Name of the built-in spec in messages.
pub const SPEC_NAME: &str = "v2.yaml (built in)";

/// Binds weights to a compiled network, whose kernels are those of an instruction set, or the processor's best.
pub type Build = fn(&Weights, Option<Isa>) -> Result<Box<dyn Network>, ModelError>;

/// Returns the compiled network of `spec` at a fusion level; `None` if it is not included.
pub fn find(spec: &NetworkSpec, fusion: Fusion) -> Option<Build> {
    #[cfg(feature = "carry")]
    let found = published::find(spec, fusion);
    #[cfg(not(feature = "carry"))]
    let found = {
        let _ = (spec, fusion);
        None
    };
    found
}
