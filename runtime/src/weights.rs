//! Weights in memory, validated once when they are opened.

mod bytes;
mod random;

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::conventions::{ConventionError, Conventions, HeadActivation};
use crate::formats::container::{Container, Header, Index, Span};
use crate::picture::{ClassifierMetadata, Framing};
use crate::preprocess::Preprocess;
use bytes::Bytes;

const LABELS: &str = "mbvc.labels";

/// A valid weights file: safetensors with the metadata that mbvc writes.
///
/// The tensors are checked against a network when a model of the network is built.
#[derive(Clone)]
pub struct Weights {
    bytes: Bytes,
    metadata: Option<Span>,
    index: Index,
    conventions: Conventions,
    head_activation: HeadActivation,
    preprocess: Preprocess,
    framing: Framing,
    /// The name of the source, for messages.
    source: Option<String>,
}

impl Weights {
    /// Reads and validates a weights file (safetensors).
    ///
    /// # Errors
    /// If the file cannot be read or is not a weights file of this version.
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let source = Some(path.display().to_string());
        match Bytes::read(path) {
            Ok(bytes) => Self::check(bytes, source),
            Err(error) => Err(WeightsError { source, problem: Problem::Io(error) }),
        }
    }

    /// Validates the bytes of a weights file (safetensors).
    ///
    /// # Errors
    /// If the bytes are not a weights file of this version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, WeightsError> {
        Self::check(Bytes::Vec(bytes), None)
    }

    /// Validates the bytes of a weights file that is part of the program, and borrows them.
    ///
    /// # Errors
    /// If the bytes are not a weights file of this version.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, WeightsError> {
        Self::check(Bytes::Static(bytes), None)
    }

    fn check(bytes: Bytes, source: Option<String>) -> Result<Self, WeightsError> {
        let fail = |source, message: String| Err(WeightsError { source, problem: Problem::Invalid(message) });
        let container = match Container::parse(&bytes) {
            Ok(container) => container,
            Err(error) => return fail(source, error.to_string()),
        };
        let header = container.header();
        let (conventions, head_activation, preprocess, framing) = match Self::metadata(header) {
            Ok(metadata) => metadata,
            Err(error) => return fail(source, error.to_string()),
        };
        let (metadata, index) = (container.metadata_span(), header.index());
        Ok(Self { bytes, metadata, index, conventions, head_activation, preprocess, framing, source })
    }

    fn metadata(header: &Header<'_>) -> Result<(Conventions, HeadActivation, Preprocess, Framing), ConventionError> {
        let conventions = Conventions::of(header)?;
        let head_activation = HeadActivation::of(header, conventions.classes)?;
        if let Some(labels) = header.metadata(LABELS)
            && labels.chars().filter(|letter| *letter == '\n').count() + 1
                != head_activation.classes(conventions.classes)
        {
            return Err(ConventionError::Value { key: LABELS, expected: "one line for each class" });
        }
        Ok((conventions, head_activation, Preprocess::of(header)?, Framing::of(header)?))
    }

    /// Returns the tensors and the metadata.
    pub fn container(&self) -> Container<'_> {
        Container::parsed_before(&self.bytes, self.metadata, &self.index)
    }

    /// Returns the conventions that the weights were trained with, from the metadata.
    pub fn conventions(&self) -> Conventions {
        self.conventions
    }

    /// Returns the head activation, the function from logits to the scores of the classes, from the metadata.
    pub fn head_activation(&self) -> HeadActivation {
        self.head_activation
    }

    /// Returns the number of classes: the number of logits, or 2 for a single logit with a sigmoid.
    pub fn classes(&self) -> usize {
        self.head_activation.classes(self.conventions.classes)
    }

    /// Returns the preprocessing from pixels to the input, from the metadata.
    pub fn preprocessing(&self) -> Preprocess {
        self.preprocess
    }

    /// Returns the framing of pictures that the weights were trained with, from the metadata.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns what a model needs to classify pictures.
    pub(crate) fn classifier_metadata(&self) -> ClassifierMetadata {
        let Self { head_activation, framing, .. } = *self;
        ClassifierMetadata { head_activation, labels: self.labels().unwrap_or_default(), framing }
    }

    /// Returns the labels of the classes in the order of the scores, if there are any.
    pub fn labels(&self) -> Option<Vec<String>> {
        let text = self.container().metadata(LABELS)?.to_string();
        Some(text.lines().map(String::from).collect())
    }

    /// Sets the name of the source that messages show. [`Weights::open`] sets it to the path.
    #[must_use]
    pub fn with_source(mut self, name: &str) -> Self {
        self.source = Some(name.to_owned());
        self
    }

    /// Returns the path that [`Weights::open`] read, or the name that [`Weights::with_source`] set.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Returns the bytes of the whole file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("source", &self.source)
            .field("bytes", &self.bytes.len())
            .field("conventions", &self.conventions)
            .finish_non_exhaustive()
    }
}

/// Weights could not be opened. The message names the file, the rule and the remedy.
#[derive(Debug)]
pub struct WeightsError {
    source: Option<String>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    #[cfg(feature = "std")]
    Io(std::io::Error),
    Invalid(String),
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}: ")?;
        }
        match &self.problem {
            #[cfg(feature = "std")]
            Problem::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                f.write_str("no such file; create a weights file from a model with `mbvc import MODEL`")
            }
            #[cfg(feature = "std")]
            Problem::Io(error) => write!(f, "cannot be read: {error}"),
            Problem::Invalid(message) => f.write_str(message),
        }
    }
}

impl core::error::Error for WeightsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.problem {
            #[cfg(feature = "std")]
            Problem::Io(error) => Some(error),
            Problem::Invalid(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
