//! Sources of built programs, libraries and web packages, also compiled here for tests and lints.
#![allow(dead_code, reason = "programs and libraries use different parts, and tests others")]

mod arguments;
mod boundary;
mod driver;
pub mod facts;
mod model;
mod picture;
mod program;
mod web;

use mbvc_runtime as rt;

const VERSION: &str = env!("CARGO_PKG_VERSION");

mbvc::mobilenet_v2!(pub "../specs/tiny.yaml", name = Generated);

/// Builds a model of random weights.
pub fn network() -> Generated {
    Generated::new(&rt::Weights::from_static(weights::bytes()).unwrap()).unwrap()
}

/// Replaces `weights.rs`, which embeds a file.
pub mod weights {
    use std::sync::LazyLock;

    use super::{Generated, rt};

    static WEIGHTS: LazyLock<rt::Weights> = LazyLock::new(|| {
        let info = Generated::INFO;
        let tensors = info.parameters.iter().map(|tensor| (tensor.name, tensor.dtype, tensor.shape));
        rt::Weights::random(tensors, info.conventions, 3).expect("the network's own tensors")
    });

    /// The weights file.
    pub fn bytes() -> &'static [u8] {
        WEIGHTS.as_bytes()
    }
}

mod boundary_tests;
