//! Operations on the logits: the head activation, reshapes, argmax and top-k.

use std::collections::HashSet;

use mbvc_runtime::HeadActivation;

use super::walk::Walk;
use crate::error::{ImportError, Result};
use crate::source::{Node, Op, Output, Value};
use crate::text::shorten;

/// Operations on the logits.
#[derive(Debug)]
pub struct End<'g> {
    /// Head activation and its place.
    pub activation: Option<(HeadActivation, String)>,
    pub rankings: Vec<&'g Node<'g>>,
    /// Outputs of the model that are other values.
    pub other_outputs: Vec<&'g Output<'g>>,
}

impl<'g> Walk<'g> {
    /// Reads every operation that depends on the logits.
    ///
    /// # Errors
    /// If a layer with weights or another operation reads them, there are two activations: one after the other, or two
    /// different ones, or a result is not an output of the model.
    pub fn end(&self, logits: Value) -> Result<End<'g>> {
        const EXPECTED: &str = "the end of the network, a softmax or a sigmoid";
        let mut end = End { activation: None, rankings: Vec::new(), other_outputs: Vec::new() };
        let mut answers = HashSet::from([logits]);
        // Values, and whether each follows an activation.
        let mut values = vec![(logits, false)];
        while let Some((value, activated)) = values.pop() {
            let is_output = self.outputs.iter().any(|output| output.value == value);
            if self.is_end(value) && !self.outputs.is_empty() && !is_output {
                return Err(self.not_an_output(value));
            }
            for node in self.readers(value) {
                answers.insert(node.output);
                match node.op {
                    Op::Flatten => values.push((node.output, activated)),
                    Op::Scores(activation) => {
                        let place = node.place.text();
                        if let Some((known, other)) = &end.activation
                            && (activated || *known != activation)
                        {
                            return Err(ImportError::unsupported("the logits have two activations")
                                .at(place)
                                .role("output")
                                .expected("at most one activation")
                                .found(format!("{activation}, and {known} at {other}"))
                                .help("remove one of them and export the model again"));
                        }
                        end.activation = Some((activation, place));
                        values.push((node.output, true));
                    }
                    Op::Ranking => end.rankings.push(node),
                    _ => return Err(Self::unexpected(node, "output", EXPECTED)),
                }
            }
        }
        end.other_outputs = self.outputs.iter().filter(|output| !answers.contains(&output.value)).collect();
        if !self.outputs.is_empty() && end.other_outputs.len() == self.outputs.len() {
            let names: Vec<_> =
                self.outputs.iter().take(8).map(|output| format!("'{}'", shorten(&output.name))).collect();
            return Err(ImportError::unsupported("no output of the model has the scores")
                .role("output")
                .expected("an output of the classifier")
                .found(names.join(", ")));
        }
        Ok(end)
    }

    fn not_an_output(&self, value: Value) -> Box<ImportError> {
        let producer = self.nodes().iter().find(|node| node.output == value);
        let error = ImportError::unsupported("the scores are not an output of the model")
            .role("output")
            .expected("outputs after the last layer")
            .help("export the model with the scores of the classes as its output");
        match producer {
            Some(node) => error.at(node.place.text()),
            None => error,
        }
    }
}
