//! The modules of a `Sequential` that contains the classifier: dense layers, normalizations that fold into them,
//! and activations.

use std::collections::BTreeSet;

use mbvc_compiler::spec::Activation;
use mbvc_runtime::HeadActivation;

use super::dict::StateDict;
use super::modules::Kind;
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// What follows the pool.
#[derive(Debug, Default, PartialEq)]
pub struct Head {
    /// Modules in order of execution.
    pub parts: Vec<(String, Part)>,
    /// Activation of the logits, and the module's name.
    pub scores: Option<(String, HeadActivation)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Dense,
    Norm,
    Activation(Activation),
}

/// Maximum number of modules that are searched after the last dense layer.
const MOST: usize = 64;

/// Finds the modules around the dense layers `dense`, which are in one `Sequential` if there are several. `scores`
/// are all softmax and sigmoid modules of the file, and `assumed` is the activation between dense layers that the
/// user has specified for a file that records none.
///
/// # Errors
/// If a module between two parts is not of the family, or the file does not record it.
pub fn find(
    dict: &StateDict<'_>,
    dense: &[String],
    scores: &[(String, HeadActivation)],
    assumed: Option<Activation>,
) -> Result<Head> {
    let scores = match scores {
        [] => None,
        [one] => Some(one.clone()),
        [one, other, ..] => {
            return Err(ImportError::unsupported("the network has several softmax or sigmoid modules")
                .role("output")
                .found(format!("'{}' and '{}'", shorten(&one.0), shorten(&other.0))));
        }
    };
    let Some((parent, numbers)) = siblings(dense) else {
        // The recognizer reports several layers without an activation between them.
        return Ok(Head { parts: dense.iter().map(|name| (name.clone(), Part::Dense)).collect(), scores });
    };
    let sequence = Sequence { dict, parent, dense: &numbers, assumed };
    Ok(Head { parts: sequence.parts()?, scores })
}

/// Returns the parent and the numbers of modules `parent.NUMBER`.
fn siblings(names: &[String]) -> Option<(&str, BTreeSet<usize>)> {
    let split = |name: &'_ str| -> Option<(usize, usize)> {
        let (parent, number) = name.rsplit_once('.')?;
        Some((parent.len(), number.parse().ok()?))
    };
    let first = names.first()?;
    let parent = first.get(..split(first)?.0)?;
    let number =
        |name: &String| split(name).filter(|(end, _)| name.get(..*end) == Some(parent)).map(|(_, number)| number);
    Some((parent, names.iter().map(number).collect::<Option<_>>()?))
}

struct Sequence<'s, 'a> {
    dict: &'s StateDict<'a>,
    parent: &'s str,
    /// Numbers of the dense layers.
    dense: &'s BTreeSet<usize>,
    assumed: Option<Activation>,
}

impl Sequence<'_, '_> {
    fn name(&self, number: usize) -> String {
        format!("{}.{number}", self.parent)
    }

    fn is_norm(&self, number: usize) -> bool {
        self.dict.tensors.contains_key(&format!("{}.running_mean", self.name(number)))
    }

    fn parts(&self) -> Result<Vec<(String, Part)>> {
        let (Some(first_dense), Some(last_dense)) = (self.dense.first(), self.dense.last()) else {
            return Ok(Vec::new());
        };
        // `Sequential` numbers its modules from 0.
        let end = last_dense.saturating_add(MOST);
        let first = (0..*first_dense).find(|number| self.is_norm(*number)).unwrap_or(*first_dense);
        let last = (*last_dense..end).rfind(|number| self.is_norm(*number)).unwrap_or(*last_dense);
        let mut parts: Vec<(String, Part)> = Vec::new();
        // Whether modules of unknown classes follow the last part.
        let mut unknown = None;
        for number in first..=last {
            let name = self.name(number);
            let part = if self.dense.contains(&number) {
                Part::Dense
            } else if self.is_norm(number) {
                Part::Norm
            } else {
                match Kind::of(self.dict, &name) {
                    Some(Kind::Transparent) => {}
                    Some(Kind::Activation(activation)) => parts.push((name, Part::Activation(activation))),
                    Some(_) => {
                        return Err(self.unexpected(
                            &name,
                            "unexpected module before the classifier",
                            "ReLU, ReLU6 or dropout",
                        ));
                    }
                    None => unknown = unknown.or(Some(name)),
                }
                continue;
            };
            let before = parts.iter().rev().map(|(_, part)| *part).find(|part| !matches!(part, Part::Activation(_)));
            match (unknown.take(), self.assumed) {
                (Some(between), Some(activation)) if part == Part::Dense && before == Some(Part::Dense) => {
                    parts.push((between, Part::Activation(activation)));
                }
                (Some(between), _) => return Err(self.unrecorded(&between)),
                (None, _) => {}
            }
            parts.push((name, part));
        }
        for number in last + 1..end {
            if let Some(Kind::Activation(activation)) = Kind::of(self.dict, &self.name(number)) {
                return Err(self
                    .unexpected(
                        &self.name(number),
                        "unexpected activation after the classifier",
                        "the end of the network, a softmax or a sigmoid",
                    )
                    .found(activation.word()));
            }
        }
        Ok(parts)
    }

    fn unexpected(&self, name: &str, problem: &str, expected: &str) -> Box<ImportError> {
        ImportError::unsupported(problem)
            .at(format!("module '{}'", shorten(name)))
            .role("classifier")
            .expected(expected)
    }

    fn unrecorded(&self, name: &str) -> Box<ImportError> {
        ImportError::unsupported("the file does not record a module before the classifier")
            .at(format!("module '{}'", shorten(name)))
            .role("classifier")
            .help(
                "for an activation between dense layers, pass a spec with `head: { dense: ..., dense_activation: ... }` \
                 (--spec FILE); or export the model to ONNX: `torch.onnx.export(model, image, FILE)`",
            )
    }
}
