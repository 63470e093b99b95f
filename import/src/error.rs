//! The error of this crate: file, place, problem, expected and found values, remedy.

use std::fmt;

/// Category of an [`ImportError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file cannot be read or written.
    Io,
    /// The file's format is unsupported.
    NotAModel,
    /// The file is invalid in its format.
    Malformed,
    /// A valid model that is not of the MobileNetV2 family, or uses unsupported features.
    Unsupported,
    /// The label file is invalid or does not fit the network.
    Labels,
    /// The model does not fit the given spec.
    Mismatch,
    /// An option does not fit the model.
    Option,
}

/// Why a file was not imported. Displays as the problem, followed by indented lines of detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ImportError {
    /// Category.
    pub kind: ErrorKind,
    /// Name of the file as given by the caller.
    pub file: String,
    /// Node or tensor in the source file, such as `node 'conv5' (Conv)`.
    pub place: Option<String>,
    /// Role of the place in the network, such as `block2.depthwise`.
    pub role: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// Expected value.
    pub expected: Option<String>,
    /// Value found instead.
    pub found: Option<String>,
    /// Remedy.
    pub help: Option<String>,
}

impl ImportError {
    pub(crate) fn new(kind: ErrorKind, problem: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind,
            file: String::new(),
            place: None,
            role: None,
            problem: problem.into(),
            expected: None,
            found: None,
            help: None,
        })
    }

    pub(crate) fn malformed(problem: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::Malformed, problem)
    }

    pub(crate) fn unsupported(problem: impl Into<String>) -> Box<Self> {
        Self::new(ErrorKind::Unsupported, problem)
    }

    pub(crate) fn file(mut self: Box<Self>, file: &str) -> Box<Self> {
        file.clone_into(&mut self.file);
        self
    }

    /// Sets the place, unless an inner one is set.
    pub(crate) fn at(mut self: Box<Self>, place: impl Into<String>) -> Box<Self> {
        self.place.get_or_insert(place.into());
        self
    }

    pub(crate) fn role(mut self: Box<Self>, role: impl Into<String>) -> Box<Self> {
        self.role.get_or_insert(role.into());
        self
    }

    pub(crate) fn expected(mut self: Box<Self>, expected: impl Into<String>) -> Box<Self> {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn found(mut self: Box<Self>, found: impl Into<String>) -> Box<Self> {
        self.found = Some(found.into());
        self
    }

    pub(crate) fn help(mut self: Box<Self>, help: impl Into<String>) -> Box<Self> {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        match (&self.role, &self.place) {
            (Some(role), Some(place)) => write!(f, "{role}, {place}: ")?,
            (Some(one), None) | (None, Some(one)) => write!(f, "{one}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.problem)?;
        for (label, text) in [("expected", &self.expected), ("found", &self.found), ("help", &self.help)] {
            if let Some(text) = text {
                write!(f, "\n  {label}: {text}")?;
            }
        }
        Ok(())
    }
}

pub(crate) type Result<T> = std::result::Result<T, Box<ImportError>>;
