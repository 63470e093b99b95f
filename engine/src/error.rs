//! Errors of the engine.

use std::path::Path;

use mbvc_compiler::diagnostic::Diagnostics;
use mbvc_runtime::ModelError;

/// An error: its message, and its remedies if there are any.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The spec is invalid. The diagnostics quote its lines.
    #[error("the spec is invalid")]
    Spec(#[from] Diagnostics),
    /// A model could not be built from the weights.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// Anything else.
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
        /// Remedies.
        help: Vec<String>,
    },
}

/// A result with an [`Error`].
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error without a remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: Vec::new() }
    }

    /// Adds a remedy to an [`Error::Failed`].
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Self::Failed { help, .. } = &mut self {
            help.push(text.into());
        }
        self
    }

    /// "cannot `verb` `path`: `cause`".
    pub(crate) fn io(verb: &str, path: &Path, cause: &std::io::Error) -> Self {
        Self::new(format!("cannot {verb} {}: {cause}", path.display()))
    }
}
