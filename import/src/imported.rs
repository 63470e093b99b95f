//! A network that was read from a file, and what users may change of it.

use std::path::Path;

use mbvc_compiler::spec::{self, NetworkSpec};
use mbvc_runtime::{Framing, MAX_HEADER_BYTES, Mismatch};

use crate::container::Container;
use crate::error::{ErrorKind, ImportError, Result};
use crate::labels::Labels;
use crate::recover::{self, Recovered};
use crate::source::{self, Fact, Format};
use crate::trace::Trace;
use crate::{fit, spec_yaml};

/// Bytes of labels in the header, which leave room for the tensors in what the runtime reads.
const MAX_LABELS: usize = MAX_HEADER_BYTES / 4 * 3;

/// A network that was read from a file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Canonical tensors and metadata.
    pub container: Container,
    /// What the file was.
    pub format: Format,
    /// The network in the terms of a spec.
    pub recovered: Recovered,
    /// How each part of `recovered` was found.
    pub facts: Vec<Fact>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Where the file holds what the network computes; `None` of formats that no other engine runs.
    pub trace: Option<Trace>,
    pub(crate) spec: NetworkSpec,
}

impl Imported {
    /// The network as a spec; its lines are those of [`Imported::spec_yaml`].
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// A spec that describes the network.
    pub fn spec_yaml(&self) -> String {
        let source = self.container.metadata.get("mbvc.source").map_or("a model", String::as_str);
        spec_yaml::render(&self.recovered, source)
    }

    /// Puts class names into the metadata.
    ///
    /// # Errors
    /// Where there is not one for each class, or they are too long together.
    pub fn set_labels(&mut self, labels: &Labels) -> Result<()> {
        labels.check(self.recovered.classes)?;
        if header_bytes(labels.names()) > MAX_LABELS {
            return Err(ImportError::new(ErrorKind::Labels, "the labels are too long for the header of a container")
                .expected(format!("at most {MAX_LABELS} bytes together"))
                .help("shorten them"));
        }
        self.remove_labels();
        self.container.metadata.insert("mbvc.labels".into(), labels.names().join("\n"));
        Ok(())
    }

    /// Leaves the classes without names, whatever was found.
    pub fn remove_labels(&mut self) {
        self.facts.retain(|fact| fact.key != "labels");
        self.container.metadata.remove("mbvc.labels");
    }

    /// Takes class names that were found, where there is one for each class.
    pub(crate) fn take_labels(&mut self, labels: &[String], from: &str) {
        let (count, classes) = (labels.len(), self.recovered.classes);
        if count != classes {
            self.notes.push(format!("{from} has {count} labels for {classes} classes; they are left out"));
            return;
        }
        if header_bytes(labels) > MAX_LABELS {
            self.notes.push(format!("the labels of {from} have more than {MAX_LABELS} bytes; they are left out"));
            return;
        }
        self.facts.push(Fact { key: "labels", value: count.to_string(), how: from.into() });
        self.container.metadata.insert("mbvc.labels".into(), labels.join("\n"));
    }

    /// Takes preprocessing from elsewhere, `from` says where, unless the file tells its own; a note says so where they
    /// differ.
    pub fn set_preprocessing(&mut self, preprocessing: spec::Preprocessing, from: &str) {
        if self.recovered.preprocessing_recorded {
            if self.recovered.preprocessing != preprocessing {
                self.notes.push(format!("the preprocessing is the file's own; that of {from} is not used"));
            }
            return;
        }
        self.recovered.preprocessing = preprocessing;
        self.spec.preprocessing = preprocessing;
        self.tell("preprocessing", recover::describe(&preprocessing), from);
    }

    /// Takes another way of bringing pictures to size.
    pub fn set_framing(&mut self, framing: Framing, from: &str) {
        self.recovered.framing = framing;
        self.tell("framing", framing.to_string(), from);
    }

    /// Lets a network of blue, green, red see red, green, blue, as all of ours do: its stem and its own preprocessing
    /// change places.
    pub fn swap_channels(&mut self) {
        for tensor in self.container.tensors.iter_mut().filter(|tensor| tensor.name == "stem.weight") {
            // `[kh, kw, 3, out]`.
            let outputs = tensor.shape.last().copied().unwrap_or(1).max(1);
            tensor.data.reverse_groups(outputs, 3);
        }
        if let Some(trace) = &mut self.trace {
            trace.reversed = !trace.reversed;
        }
        if self.recovered.preprocessing_recorded {
            let spec::Preprocessing { scale, offset } = &mut self.recovered.preprocessing;
            scale.reverse();
            offset.reverse();
            self.spec.preprocessing = self.recovered.preprocessing;
            self.tell(
                "preprocessing",
                recover::describe(&self.recovered.preprocessing),
                "the file, in red, green, blue",
            );
        }
    }

    /// Puts what a fact says into the metadata too.
    fn tell(&mut self, key: &str, value: String, from: &str) {
        source::replace(&mut self.facts, key, &value, from);
        self.container.metadata.insert(format!("mbvc.{key}"), value);
    }

    /// Compares conventions, tensors, strides and residuals with those of `spec`.
    /// Resolution, preprocessing and epsilon, which is folded into the weights, may differ.
    ///
    /// # Errors
    /// As [`Container::mismatches`].
    pub fn mismatches(&self, spec: &NetworkSpec) -> Result<Vec<Mismatch>> {
        let mut mismatches = self.container.mismatches(spec)?;
        let mut compare = |field: String, expected: String, found: String| {
            if expected != found {
                mismatches.push(Mismatch { field, expected, found });
            }
        };
        let residual = |is_there| if is_there { "a residual" } else { "no residual" }.to_owned();
        compare("stem.stride".into(), spec.stem.stride.to_string(), self.spec.stem.stride.to_string());
        for (expected, found) in spec.resolve().blocks.iter().zip(&self.spec.resolve().blocks) {
            let block = expected.index;
            compare(format!("block{block}.stride"), expected.stride.to_string(), found.stride.to_string());
            compare(format!("block{block}.add"), residual(expected.residual), residual(found.residual));
        }
        Ok(mismatches)
    }

    /// Checks that conventions, tensors, strides and residuals are those of `spec`.
    ///
    /// # Errors
    /// All differences of [`mismatches`](Self::mismatches), of which the message lists the first.
    pub fn check_against(&self, spec: &NetworkSpec) -> Result<()> {
        fit::check(&self.mismatches(spec)?)
    }

    /// Writes the container, whole or not at all.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.container.write(path)
    }
}

/// Bytes of labels in a header, where some characters are escaped.
fn header_bytes(labels: &[String]) -> usize {
    labels.iter().map(|label| serde_json::Value::from(label.as_str()).to_string().len()).sum()
}
