//! Errors of a command, and how they are printed.

use std::fmt;
use std::path::Path;

use mbvc_compiler::diagnostic::Diagnostics;

use crate::ui;

/// Exit status of a failed command. Misuse of the command line, reported by clap, is 2.
const FAILURE: u8 = 1;
/// Exit status of a comparison that found a difference.
const DIFFERENT: u8 = 3;

/// An error of a command.
#[derive(Debug)]
pub enum CliError {
    Message {
        message: String,
        help: Vec<String>,
        /// Output of another program, which `--verbose` prints.
        details: Option<String>,
    },
    /// Errors in a spec, rendered with the source lines.
    Diagnostics(Diagnostics),
    /// An error that has been printed.
    Reported,
    /// A comparison found a difference, which has been printed.
    Different,
}

pub type Result<T = ()> = std::result::Result<T, CliError>;

impl CliError {
    pub fn new(message: impl Into<String>) -> Self {
        Self::Message { message: message.into(), help: Vec::new(), details: None }
    }

    /// Adds a `help:` line.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Self::Message { help, .. } = &mut self {
            help.push(text.into());
        }
        self
    }

    /// Returns the error "cannot `verb` `path`: `cause`", with short texts for common causes.
    pub fn io(verb: &str, path: &Path, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied, StorageFull};
        let shown = path.display();
        match cause.kind() {
            NotFound if verb == "read" => Self::new(format!("cannot read {shown}: no such file")),
            NotFound => Self::new(format!("cannot {verb} {shown}: its folder does not exist")),
            IsADirectory => Self::new(format!("cannot {verb} {shown}: it is a folder")),
            NotADirectory => Self::new(format!("cannot {verb} {shown}: a part of the path is not a folder")),
            PermissionDenied => Self::new(format!("cannot {verb} {shown}: permission denied")),
            StorageFull => Self::new(format!("cannot {verb} {shown}: the disk is full")),
            _ => Self::new(format!("cannot {verb} {shown}: {cause}")),
        }
    }

    /// Exit status of the process.
    pub fn status(&self) -> u8 {
        match self {
            Self::Different => DIFFERENT,
            Self::Message { .. } | Self::Diagnostics(_) | Self::Reported => FAILURE,
        }
    }

    /// Prints the error on standard error, with its details if `--verbose` was given.
    pub fn print(&self) {
        match self {
            Self::Message { message, help, details } => {
                ui::error(message);
                for text in help {
                    ui::help(text);
                }
                match details {
                    Some(text) if ui::is_verbose() => ui::details(text),
                    Some(_) => ui::help("--verbose prints the output of the compiler and the linker"),
                    None => {}
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
            Self::Diagnostics(_) => f.write_str("the spec has errors"),
            Self::Reported => f.write_str("the command failed"),
            Self::Different => f.write_str("the comparison found a difference"),
        }
    }
}

impl From<mbvc_engine::Error> for CliError {
    fn from(error: mbvc_engine::Error) -> Self {
        match error {
            mbvc_engine::Error::Spec(mistakes) => Self::Diagnostics(mistakes),
            mbvc_engine::Error::Failed { message, help, details } => Self::Message { message, help, details },
            other => Self::new(other.to_string()),
        }
    }
}

impl From<mbvc_pictures::Error> for CliError {
    fn from(error: mbvc_pictures::Error) -> Self {
        Self::Message { message: error.message, help: error.help.into_iter().collect(), details: None }
    }
}

impl From<Diagnostics> for CliError {
    fn from(mistakes: Diagnostics) -> Self {
        Self::Diagnostics(mistakes)
    }
}
