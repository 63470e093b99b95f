//! The Python package `mbvc_datafusion`: the functions of the crate `mbvc-datafusion` for the Python package `datafusion`.
//!
//! A separate package, so that only those who use DataFusion compile it.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion_ffi::udf::FFI_ScalarUDF;
use mbvc_datafusion::{Functions, OnError};
use mbvc_engine::{Bundle, Classifier, Silent};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// A scalar function, which `datafusion.udf` takes.
#[pyclass(frozen, module = "mbvc_datafusion")]
struct Function(Arc<ScalarUDF>);

#[pymethods]
impl Function {
    fn __datafusion_scalar_udf__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(py, FFI_ScalarUDF::from(self.0.clone()), c"datafusion_scalar_udf")
    }

    fn __repr__(&self) -> String {
        format!("<mbvc_datafusion.Function {}>", self.0.name())
    }
}

/// Returns the functions `classify` and `embed` for a model file that `mbvc.Model.save` wrote. The file can contain
/// machine code that is executed: open only files that you trust.
///
/// Args:
///     model: The model file.
///     prefix: Prefix of the function names, so that several networks can be registered.
///     threads: Number of threads that share a batch. DataFusion runs several partitions at the same time.
///     fast_decode: Decode large JPEG images at a reduced size, which is faster and changes the scores slightly.
///     fail: End the query with an error if an image cannot be decoded. By default its result is null.
///
/// Raises:
///     RuntimeError: The model file cannot be opened.
#[pyfunction]
#[pyo3(signature = (model, *, prefix = "", threads = 1, fast_decode = false, fail = false))]
fn functions(
    py: Python<'_>,
    model: PathBuf,
    prefix: &str,
    threads: usize,
    fast_decode: bool,
    fail: bool,
) -> PyResult<Vec<Function>> {
    let classifier = py.detach(|| {
        let bundle = Bundle::open(&model)?;
        // SAFETY: the caller vouches for the machine code in the file, as the documentation requires.
        let network = unsafe { bundle.network(None, &Silent) }?;
        Ok(Classifier::new(network, &bundle.weights))
    });
    let classifier = classifier.map_err(|cause: mbvc_engine::Error| PyRuntimeError::new_err(cause.to_string()))?;
    let on_error = if fail { OnError::Fail } else { OnError::Null };
    let functions =
        Functions::new(classifier).prefix(prefix).threads(threads).fast_decode(fast_decode).on_error(on_error);
    Ok(functions.udfs().map(|udf| Function(Arc::new(udf))).into())
}

#[pymodule]
#[pyo3(name = "mbvc_datafusion")]
mod module {
    #[pymodule_export]
    use super::{Function, functions};
}
