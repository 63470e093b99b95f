//! Errors of picture files.

use std::io::ErrorKind;
use std::path::Path;

/// Why a picture cannot be read: its message, and a remedy if there is one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What is wrong, with the name of the file.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A result with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// Adds a remedy.
    #[must_use]
    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        Self { help: Some(text.into()), ..self }
    }

    /// "cannot read `path`: `cause`", with short texts for common causes.
    pub(crate) fn io(path: &Path, cause: &std::io::Error) -> Self {
        let error = |cause: &dyn std::fmt::Display| Self::new(format!("cannot read {}: {cause}", path.display()));
        match cause.kind() {
            ErrorKind::NotFound => error(&"no such file"),
            ErrorKind::NotADirectory => error(&"a part of the path is not a folder"),
            ErrorKind::PermissionDenied => error(&"permission denied"),
            _ => error(cause),
        }
    }
}
