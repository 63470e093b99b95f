//! A network that was read from a file, and the changes that users may make to it.

use mbvc_compiler::spec::{self, NetworkSpec};
use mbvc_runtime::{Framing, HeadActivation, MAX_HEADER_BYTES, Mismatch};

use crate::container::Container;
use crate::error::{ErrorKind, ImportError, Result};
use crate::labels::Labels;
use crate::recover::{self, Recovered};
use crate::source::{self, Fact, Format};
use crate::trace::Trace;
use crate::{fit, spec_yaml};

/// Most bytes of labels in the header, which leaves room for the tensors within the runtime's limit.
const MAX_LABELS: usize = MAX_HEADER_BYTES / 4 * 3;

/// A network that was read from a file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Canonical tensors and metadata.
    pub container: Container,
    /// Format of the file.
    pub format: Format,
    /// The network as a spec describes it.
    pub recovered: Recovered,
    /// Evidence for each part of `recovered`.
    pub facts: Vec<Fact>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The tensors of the file that contain the network's values; `None` for formats that no other engine runs.
    pub trace: Option<Trace>,
    pub(crate) spec: NetworkSpec,
}

impl Imported {
    /// Returns the spec of the network; its lines are those of [`Imported::spec_yaml`].
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Returns the text of a spec that describes the network.
    pub fn spec_yaml(&self) -> String {
        let source = self.container.metadata.get("mbvc.source").map_or("a model", String::as_str);
        spec_yaml::render(&self.recovered, source)
    }

    /// Sets the class names.
    ///
    /// # Errors
    /// If there is not one name per class, or they are too long together.
    pub fn set_labels(&mut self, labels: &Labels) -> Result<()> {
        labels.check(self.recovered.scored_classes())?;
        if header_bytes(labels.names()) > MAX_LABELS {
            return Err(ImportError::new(
                ErrorKind::Labels,
                "the labels are too long for the header of a weights file",
            )
            .expected(format!("at most {MAX_LABELS} bytes in total"))
            .help("shorten them"));
        }
        self.remove_labels();
        self.container.metadata.insert("mbvc.labels".into(), labels.names().join("\n"));
        Ok(())
    }

    /// Removes the class names.
    pub fn remove_labels(&mut self) {
        self.facts.retain(|fact| fact.key != "labels");
        self.container.metadata.remove("mbvc.labels");
    }

    /// Sets class names found in `from` if there is one per class; adds a note otherwise.
    pub(crate) fn take_labels(&mut self, labels: &[String], from: &str) {
        let (count, classes) = (labels.len(), self.recovered.scored_classes());
        if count != classes {
            self.notes.push(format!("{from} has {count} labels for {classes} classes; they are ignored"));
            return;
        }
        if header_bytes(labels) > MAX_LABELS {
            self.notes.push(format!("the labels of {from} have more than {MAX_LABELS} bytes; they are ignored"));
            return;
        }
        self.facts.push(Fact { key: "labels", value: count.to_string(), how: from.into() });
        self.container.metadata.insert("mbvc.labels".into(), labels.join("\n"));
    }

    /// Sets preprocessing from another source, `from`, unless the file records it. A note reports a difference.
    pub fn set_preprocessing(&mut self, preprocessing: spec::Preprocessing, from: &str) {
        if self.recovered.preprocessing_recorded {
            if self.recovered.preprocessing != preprocessing {
                self.notes.push(format!("the preprocessing recorded in the file is used; that of {from} is ignored"));
            }
            return;
        }
        self.recovered.preprocessing = preprocessing;
        self.spec.preprocessing = preprocessing;
        self.record("preprocessing", recover::describe(&preprocessing), from);
    }

    /// Sets how pictures are resized.
    pub fn set_framing(&mut self, framing: Framing, from: &str) {
        self.recovered.framing = framing;
        self.record("framing", framing.to_string(), from);
    }

    /// Sets the function from logits to the scores of the classes.
    /// Labels that no longer match the number of classes are removed, which a note reports.
    pub fn set_head_activation(&mut self, activation: HeadActivation, from: &str) {
        let recorded = self.recovered.head_activation;
        if self.recovered.head_activation_recorded && recorded != activation {
            self.notes.push(format!("the head activation of the model is {recorded}; {activation} is used instead"));
        }
        self.recovered.head_activation = activation;
        self.record("head_activation", activation.to_string(), from);
        let (labels, classes) = (self.container.metadata.get("mbvc.labels"), self.recovered.scored_classes());
        if let Some(count) = labels.map(|labels| labels.lines().count()).filter(|count| *count != classes) {
            self.remove_labels();
            self.notes.push(format!(
                "the file has {count} labels, expected {classes} for the head activation {activation}; the labels are \
                 ignored; pass --labels FILE"
            ));
        }
    }

    /// Converts a network for BGR input to RGB by swapping the channels of its stem and its recorded preprocessing. A
    /// network for gray input does not change.
    pub fn swap_channels(&mut self) {
        for tensor in self.container.tensors.iter_mut().filter(|tensor| tensor.name == "stem.weight") {
            let &[_, _, channels, outputs] = tensor.shape.as_slice() else { continue };
            tensor.data.reverse_groups(outputs.max(1), channels.max(1));
        }
        if let Some(trace) = &mut self.trace {
            trace.reversed = !trace.reversed;
        }
        if self.recovered.preprocessing_recorded {
            let spec::Preprocessing { scale, offset } = &mut self.recovered.preprocessing;
            scale.reverse();
            offset.reverse();
            self.spec.preprocessing = self.recovered.preprocessing;
            self.record(
                "preprocessing",
                recover::describe(&self.recovered.preprocessing),
                "the file, converted to RGB",
            );
        }
    }

    /// Updates a fact and its metadata entry.
    fn record(&mut self, key: &str, value: String, from: &str) {
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
    /// If [`mismatches`](Self::mismatches) is not empty. The message lists the first differences.
    pub fn check_against(&self, spec: &NetworkSpec) -> Result<()> {
        fit::check(&self.mismatches(spec)?)
    }
}

/// Returns the size of labels in a header, with escapes.
fn header_bytes(labels: &[String]) -> usize {
    labels.iter().map(|label| serde_json::Value::from(label.as_str()).to_string().len()).sum()
}
