//! What a command returns when it cannot do its work, and how that is printed.

use std::fmt;
use std::path::Path;

use mbvc_compiler::diagnostic::Diagnostics;

use crate::ui;

/// Exit status of a command that was understood and failed.
const FAILURE: u8 = 1;
/// Exit status of a comparison that was made, and whose sides differ; 2 is that of misuse.
const DIFFERENT: u8 = 3;

/// A failure of a command: what went wrong and, where there is one, the remedy.
#[derive(Debug)]
pub enum CliError {
    Message {
        message: String,
        help: Vec<String>,
    },
    /// Mistakes in a spec, rendered with the lines at fault.
    Diagnostics(Diagnostics),
    /// What went wrong has been printed already.
    Reported,
    /// What was compared differs, as has been printed.
    Different,
}

pub type Result<T = ()> = std::result::Result<T, CliError>;

impl CliError {
    pub fn new(message: impl Into<String>) -> Self {
        Self::Message { message: message.into(), help: Vec::new() }
    }

    /// Adds a remedy; each becomes a `help:` line of its own.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Self::Message { help, .. } = &mut self {
            help.push(text.into());
        }
        self
    }

    /// "cannot `verb` `path`: `cause`", with a remedy for the usual causes.
    pub fn io(verb: &str, path: &Path, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
        let shown = path.display();
        match cause.kind() {
            NotFound if verb == "read" => Self::new(format!("cannot read {shown}: there is no such file")),
            NotFound => Self::new(format!("cannot {verb} {shown}: its folder does not exist")),
            IsADirectory => Self::new(format!("cannot {verb} {shown}: it is a folder")),
            NotADirectory => Self::new(format!("cannot {verb} {shown}: a part of the path is a file, not a folder")),
            PermissionDenied => Self::new(format!("cannot {verb} {shown}: permission denied")),
            _ => Self::new(format!("cannot {verb} {shown}: {cause}")),
        }
    }

    /// The process's exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Different => DIFFERENT,
            Self::Message { .. } | Self::Diagnostics(_) | Self::Reported => FAILURE,
        }
    }

    /// Prints the failure on standard error.
    pub fn print(&self) {
        match self {
            Self::Message { message, help } => {
                ui::error(message);
                for text in help {
                    ui::help(text);
                }
            }
            Self::Diagnostics(mistakes) => ui::diagnostics(mistakes),
            Self::Reported | Self::Different => {}
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { message, .. } => f.write_str(message),
            Self::Diagnostics(_) => f.write_str("the spec has mistakes"),
            Self::Reported => f.write_str("the command failed"),
            Self::Different => f.write_str("what was compared differs"),
        }
    }
}

impl From<mbvc_engine::Error> for CliError {
    fn from(error: mbvc_engine::Error) -> Self {
        match error {
            mbvc_engine::Error::Spec(mistakes) => Self::Diagnostics(mistakes),
            mbvc_engine::Error::Failed { message, help } => Self::Message { message, help },
            other => Self::new(other.to_string()),
        }
    }
}

impl From<Diagnostics> for CliError {
    fn from(mistakes: Diagnostics) -> Self {
        Self::Diagnostics(mistakes)
    }
}
