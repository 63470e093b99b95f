//! Networks that are compiled into the `mbvc` command and into the Python package.
//!
//! The demo's network is always included. The feature `carry` adds the networks at 224x224 whose weights TensorFlow, Keras and
//! torchvision publish. It is meant for distributed binaries, whose users may have no Rust compiler. Without it, these
//! networks are compiled on first use.

#![warn(missing_docs)]

pub mod demo;
#[cfg(feature = "carry")]
mod published;

use mbvc::errors::{ModelError, PackError, PackedError};
use mbvc::info::NetworkInfo;
use mbvc::weights::Container;
use mbvc::{Isa, Network, Weights};
use mbvc_compiler::spec::{Fusion, NetworkSpec};

/// Text of the built-in spec, MobileNetV2 1.0 at 224x224.
pub const SPEC: &str = include_str!("../specs/v2.yaml");

/// Name of the built-in spec in messages.
pub const SPEC_NAME: &str = "v2.yaml (built in)";

/// A network with weights, or the reason why they do not fit it.
pub type Bound<E> = Result<Box<dyn Network>, E>;

/// A network that is compiled into this crate, without weights.
#[derive(Clone, Copy)]
pub struct Carried {
    /// Facts of the network.
    pub info: &'static NetworkInfo,
    /// Binds weights to the kernels of an instruction set, by default the best of this processor.
    pub build: fn(&Weights, Option<Isa>) -> Bound<ModelError>,
    /// Returns the number of bytes that `pack` writes; `None` if the network was not compiled for the instruction set.
    pub packed_bytes_for: fn(&Container<'_>, Isa) -> Option<usize>,
    /// Packs weights for an instruction set, into memory that is aligned to 64 bytes.
    pub pack: fn(&Container<'_>, Isa, &mut [u8]) -> Result<(), PackError>,
    /// Binds packed weights, which the network uses in place.
    pub from_packed: fn(&'static [u8]) -> Bound<PackedError>,
}

/// Returns the compiled network of `spec` at a fusion level; `None` if it is not included.
pub fn find(spec: &NetworkSpec, fusion: Fusion) -> Option<Carried> {
    #[cfg(feature = "carry")]
    let found = published::find(spec, fusion);
    #[cfg(not(feature = "carry"))]
    let found = {
        let _ = (spec, fusion);
        None
    };
    found
}
