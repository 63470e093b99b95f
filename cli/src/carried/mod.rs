//! What goes into built programs and libraries, compiled here too, for its tests and for lints.
#![allow(dead_code, reason = "the two kinds take different parts, tests others still")]

mod arguments;
mod boundary;
mod model;
mod picture;
mod program;

use mbvc::__runtime as rt;

const VERSION: &str = env!("CARGO_PKG_VERSION");

mbvc::mobilenet_v2!("specs/tiny.yaml", name = Generated);

/// In place of `weights.rs`, which embeds a file.
mod weights {
    use std::sync::LazyLock;

    use super::{Generated, rt};

    static WEIGHTS: LazyLock<rt::Weights> = LazyLock::new(|| {
        let info = Generated::INFO;
        let tensors = info.parameters.iter().map(|tensor| (tensor.name, tensor.dtype, tensor.shape));
        rt::Weights::random(tensors, info.conventions, 3).expect("the network's own tensors")
    });

    /// The container.
    pub fn bytes() -> &'static [u8] {
        WEIGHTS.as_bytes()
    }
}

mod boundary_tests;
