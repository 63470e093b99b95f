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
    /// Modules of the same `Sequential` before the first part.
    pub before: Vec<String>,
    /// Activation of the logits, and the module's name.
    pub scores: Option<(String, HeadActivation)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Dense,
    Norm,
    Activation(Activation),
}

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
        let parts = dense.iter().map(|name| (name.clone(), Part::Dense)).collect();
        return Ok(Head { parts, before: Vec::new(), scores });
    };
    let sequence = Sequence { dict, parent, dense: &numbers, assumed };
    let parts = sequence.parts()?;
    let is_before = |name: &String| parts.first().is_some_and(|(first, _)| name != first);
    let before = sequence.numbers().into_iter().map(|number| sequence.name(number)).take_while(is_before).collect();
    Ok(Head { parts, before, scores })
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

    /// Returns the numbers of all children with tensors or a class.
    fn numbers(&self) -> BTreeSet<usize> {
        let below = format!("{}.", self.parent);
        let number = |name: &String| name.strip_prefix(&below)?.split('.').next()?.parse().ok();
        let tensors = self.dict.tensors.range(below.clone()..).map(|(name, _)| name);
        let modules = self.dict.modules.range(below.clone()..).map(|(name, _)| name);
        let of = |name: &&String| name.starts_with(&below);
        tensors.take_while(of).chain(modules.take_while(of)).filter_map(number).collect()
    }

    fn parts(&self) -> Result<Vec<(String, Part)>> {
        let (Some(&first_dense), Some(&last_dense)) = (self.dense.first(), self.dense.last()) else {
            return Ok(Vec::new());
        };
        let numbers = self.numbers();
        let norms: Vec<usize> = numbers.iter().copied().filter(|number| self.is_norm(*number)).collect();
        let first = norms.first().copied().unwrap_or(first_dense).min(first_dense);
        let last = norms.last().copied().unwrap_or(last_dense).max(last_dense);
        let mut parts: Vec<(String, Part)> = Vec::new();
        // A module between the last part and the next one whose class is unknown.
        let mut unknown = None;
        let mut expected = first;
        for &number in numbers.range(first..=last) {
            // `Sequential` numbers its modules one after the other; those without tensors are missing in a state dict.
            if number > expected {
                unknown = unknown.or_else(|| Some(self.name(expected)));
            }
            expected = number.saturating_add(1);
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
        for &number in numbers.range(last.saturating_add(1)..) {
            let name = self.name(number);
            if let Some(Kind::Activation(activation)) = Kind::of(self.dict, &name) {
                return Err(self
                    .unexpected(
                        &name,
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
        ImportError::unsupported("a module of the head is not recorded in the file")
            .at(format!("module '{}'", shorten(name)))
            .role("classifier")
            .help(
                "for an activation between dense layers, pass a spec with `head: { dense: ..., dense_activation: ... }` \
                 (--spec FILE); or export the model to ONNX: `torch.onnx.export(model, image, \"model.onnx\", dynamo=False)`",
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::DType;
    use crate::state_dict::{Module, Stored};

    /// Tensors of modules `head.NUMBER`, and modules with a class.
    fn dict(tensors: &[&str], modules: &[(&str, &str)]) -> StateDict<'static> {
        let tensor = |name: &&str| (format!("head.{name}"), Ok(Stored::whole(DType::F32, vec![0], &[])));
        let module = |(name, class): &(&str, &str)| {
            let class = Some(format!("torch.nn.modules.{class}"));
            (format!("head.{name}"), Module { class, ..Module::default() })
        };
        StateDict { tensors: tensors.iter().map(tensor).collect(), modules: modules.iter().map(module).collect() }
    }

    fn parts(dict: &StateDict<'_>, dense: &[&str], assumed: Option<Activation>) -> Result<Vec<Part>> {
        let dense: Vec<String> = dense.iter().map(|number| format!("head.{number}")).collect();
        let head = find(dict, &dense, &[], assumed)?;
        Ok(head.parts.into_iter().map(|(_, part)| part).collect())
    }

    #[test]
    fn neighbors_of_the_classifier_are_folded() {
        let norm_first = dict(&["0.running_mean", "0.weight", "1.weight"], &[]);
        assert_eq!(parts(&norm_first, &["1"], None).unwrap(), [Part::Norm, Part::Dense]);
        let norm_last = dict(&["1.weight", "2.running_mean"], &[]);
        assert_eq!(parts(&norm_last, &["1"], None).unwrap(), [Part::Dense, Part::Norm]);
        let apart = dict(&["0.running_mean", "2.weight"], &[]);
        assert!(parts(&apart, &["2"], None).unwrap_err().to_string().contains("module 'head.1'"));
        let dropout = dict(&["0.running_mean", "2.weight"], &[("1", "dropout.Dropout")]);
        assert_eq!(parts(&dropout, &["2"], None).unwrap(), [Part::Norm, Part::Dense]);
    }

    #[test]
    fn the_activation_between_dense_layers_is_recorded_or_specified() {
        let unrecorded = dict(&["1.weight", "4.weight"], &[]);
        assert!(parts(&unrecorded, &["1", "4"], None).unwrap_err().to_string().contains("module 'head.2'"));
        let relu6 = Part::Activation(Activation::Relu6);
        assert_eq!(
            parts(&unrecorded, &["1", "4"], Some(Activation::Relu6)).unwrap(),
            [Part::Dense, relu6, Part::Dense]
        );
        let modules = [("2", "activation.ReLU6"), ("3", "dropout.Dropout")];
        let recorded = dict(&["1.weight", "4.weight"], &modules);
        assert_eq!(parts(&recorded, &["1", "4"], None).unwrap(), [Part::Dense, relu6, Part::Dense]);
        let tanh = dict(&["1.weight", "3.weight"], &[("2", "activation.Tanh")]);
        assert!(parts(&tanh, &["1", "3"], None).unwrap_err().to_string().contains("unexpected module"));
        let last = dict(&["1.weight"], &[("2", "activation.ReLU")]);
        assert!(parts(&last, &["1"], None).unwrap_err().to_string().contains("after the classifier"));
    }

    #[test]
    fn large_module_numbers_are_fast() {
        let largest = usize::MAX.to_string();
        let name = format!("{largest}.weight");
        assert_eq!(parts(&dict(&[&name], &[]), &[&largest], None).unwrap(), [Part::Dense]);
        let far = dict(&["0.running_mean", &name], &[]);
        assert!(parts(&far, &[&largest], None).is_err());
    }
}
