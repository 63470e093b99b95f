//! Reports of long work to a Python function.

use mbvc_engine::Progress;
use pyo3::prelude::*;

/// Calls `function(what)` when work begins; `None` discards reports.
pub struct Reporter(pub Option<Py<PyAny>>);

impl Progress for Reporter {
    fn begin(&self, what: &str) {
        if let Some(function) = &self.0 {
            Python::attach(|py| {
                // A report that fails must not fail the work.
                if let Err(error) = function.call1(py, (what,)) {
                    error.write_unraisable(py, None);
                }
            });
        }
    }

    fn end(&self) {}
}
