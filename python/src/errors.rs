//! Errors of the crates as exceptions of the package.

use mbvc_import::ErrorKind;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// An error with the class of its exception in `mbvc/_errors.py`.
pub struct Failure {
    class: &'static str,
    message: String,
    help: Vec<String>,
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// An error in an argument, or in what it refers to.
    pub fn new(message: impl Into<String>) -> Self {
        Self { class: "Error", message: message.into(), help: Vec::new() }
    }

    /// Adds a help line.
    pub fn help(mut self, text: &str) -> Self {
        self.help.push(text.to_owned());
        self
    }

    /// Returns the exception.
    pub fn exception<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let class = py.import("mbvc._errors")?.getattr(self.class)?.cast_into::<PyType>()?;
        class.call1((&self.message, &self.help))
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| match failure.exception(py) {
            Ok(exception) => Self::from_value(exception),
            Err(error) => error,
        })
    }
}

impl From<mbvc_engine::Error> for Failure {
    fn from(error: mbvc_engine::Error) -> Self {
        match error {
            mbvc_engine::Error::Spec(mistakes) => {
                Self { class: "SpecError", message: mistakes.to_string(), help: Vec::new() }
            }
            mbvc_engine::Error::Model(error) => {
                Self { class: "WeightsError", message: error.to_string(), help: Vec::new() }
            }
            mbvc_engine::Error::Failed { message, help, details } => {
                let message = [message].into_iter().chain(details).collect::<Vec<_>>().join("\n\n");
                Self { class: "Error", message, help }
            }
            other => Self::new(other.to_string()),
        }
    }
}

impl From<mbvc_compiler::diagnostic::Diagnostics> for Failure {
    fn from(mistakes: mbvc_compiler::diagnostic::Diagnostics) -> Self {
        mbvc_engine::Error::from(mistakes).into()
    }
}

impl From<mbvc_runtime::WeightsError> for Failure {
    fn from(error: mbvc_runtime::WeightsError) -> Self {
        Self { class: "WeightsError", message: error.to_string(), help: Vec::new() }
    }
}

impl From<mbvc_pictures::Error> for Failure {
    fn from(error: mbvc_pictures::Error) -> Self {
        Self { class: "PictureError", message: error.message, help: error.help.into_iter().collect() }
    }
}

impl From<Box<mbvc_import::ImportError>> for Failure {
    fn from(error: Box<mbvc_import::ImportError>) -> Self {
        let class = match error.kind {
            ErrorKind::Labels => "LabelsError",
            ErrorKind::Mismatch | ErrorKind::Option => "Error",
            ErrorKind::Io | ErrorKind::NotAModel | ErrorKind::Malformed | ErrorKind::Unsupported => "ModelFileError",
        };
        Self { class, message: error.to_string(), help: Vec::new() }
    }
}
