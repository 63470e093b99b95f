//! The native module of the Python package `mbvc`, which `mbvc/__init__.py` wraps.
//!
//! It converts between Python and the crates that the command uses too: `import`, `engine` and `pictures`.

mod arrays;
mod batch;
mod errors;
mod import;
mod interrupt;
mod model;
mod output;
mod picture;
mod progress;

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command `mbvc` with `arguments`, whose first is its name; returns the exit status.
#[pyfunction]
fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| mbvc_cli::run(arguments))
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::command;
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::output::write;

    /// Version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
