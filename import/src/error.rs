//! The one error of this crate: file, place, rule, what was expected and found, remedy.

use std::fmt;

/// What kind of trouble an [`ImportError`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file cannot be read or written.
    Io,
    /// The file is of another kind than those that are read.
    NotAModel,
    /// The file breaks the rules of its own format.
    Malformed,
    /// A sound model that is no member of the MobileNetV2 family, or one in a form that is not read.
    Unsupported,
    /// Label file and network disagree.
    Labels,
}

/// Why a file was not imported. Displays as one line of problem and indented lines of detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ImportError {
    /// For callers that tell troubles apart.
    pub kind: ErrorKind,
    /// Name of the file as the caller gave it.
    pub file: String,
    /// The source's own name of the node or tensor, with its operator, such as `node 'conv5' (Conv)`.
    pub place: Option<String>,
    /// What the place should have been in the network, such as `block2.depthwise`.
    pub role: Option<String>,
    /// What is wrong, in one line.
    pub problem: String,
    /// What should be there.
    pub expected: Option<String>,
    /// What is there instead.
    pub found: Option<String>,
    /// What to do about it.
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

    /// Says where, unless a place nearer to the trouble has been said already.
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
