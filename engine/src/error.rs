//! Errors of the engine.

use std::io::ErrorKind;
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
        /// Output of the compiler or the linker, of several lines.
        details: Option<String>,
    },
}

/// A result with an [`Error`].
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error without a remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: Vec::new(), details: None }
    }

    /// Adds a remedy to an [`Error::Failed`].
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Self::Failed { help, .. } = &mut self {
            help.push(text.into());
        }
        self
    }

    /// Adds the output of another program to an [`Error::Failed`].
    #[must_use]
    pub(crate) fn details(mut self, text: String) -> Self {
        if let Self::Failed { details, .. } = &mut self {
            *details = Some(text).filter(|text| !text.is_empty());
        }
        self
    }

    /// "cannot `verb` `path`: `cause`".
    pub(crate) fn io(verb: &str, path: &Path, cause: &std::io::Error) -> Self {
        let error = |cause: &dyn std::fmt::Display| Self::new(format!("cannot {verb} {}: {cause}", path.display()));
        match cause.kind() {
            ErrorKind::StorageFull => error(&"the disk is full")
                .help("free space on this disk, or set MBVC_CACHE=FOLDER to compile on another one"),
            ErrorKind::PermissionDenied => error(&"permission denied"),
            _ => error(cause),
        }
    }
}
