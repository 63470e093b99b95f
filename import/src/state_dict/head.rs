//! The layers after the pool: dense layers, normalizations that fold into them, and activations.
//!
//! They are read from the `Sequential` that contains the classifier, including nested ones, in order of execution.

use std::collections::BTreeSet;

use mbvc_compiler::spec::Activation;
use mbvc_runtime::HeadActivation;

use super::dict::StateDict;
use super::kind::{Kind, SEQUENTIAL};
use super::layers::Layers;
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Most nested `Sequential`s.
const MAX_DEPTH: usize = 16;

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

/// A module without other modules of the `Sequential` that contains the classifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub name: String,
    pub content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Dense,
    Norm,
    /// Its class is recorded in the file.
    Known(Kind),
    /// Its class or even its existence is not recorded.
    Unknown,
}

/// Returns the modules after the body in the outermost `Sequential` that contains all dense layers.
pub fn leaves(dict: &StateDict<'_>, layers: &Layers) -> Vec<Leaf> {
    let mut reader = Reader { dict, dense: layers.dense.iter().map(String::as_str).collect(), leaves: Vec::new() };
    let mut top = common_parent(&layers.dense);
    while let Some(parent) = parent(&top).filter(|parent| reader.is_sequence(parent)) {
        top = parent.to_owned();
    }
    reader.read(&top, 0);
    let mut leaves = reader.leaves;
    let is_body = |leaf: &Leaf| [&layers.head.conv, &layers.head.norm].contains(&&leaf.name);
    if let Some(last) = leaves.iter().rposition(is_body) {
        leaves.drain(..=last);
    }
    leaves
}

/// Returns the name of the module that contains `name`; empty for the root.
fn parent(name: &str) -> Option<&str> {
    match name {
        "" => None,
        _ => Some(container(name)),
    }
}

/// Returns the name of the module that contains a module; that of the root is empty.
pub fn container(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(container, _)| container)
}

/// Returns the one name, or the longest name of a module that contains all of them.
fn common_parent(names: &[String]) -> String {
    let [first, rest @ ..] = names else { return String::new() };
    let is_inside = |top: &str| rest.iter().all(|name| name == top || name.starts_with(&below(top)));
    let mut top = first.as_str();
    while let Some(parent) = parent(top).filter(|_| !is_inside(top)) {
        top = parent;
    }
    top.to_owned()
}

/// Returns the start of the names of all modules in `module`.
fn below(module: &str) -> String {
    if module.is_empty() { String::new() } else { format!("{module}.") }
}

struct Reader<'d, 'a> {
    dict: &'d StateDict<'a>,
    dense: BTreeSet<&'d str>,
    leaves: Vec<Leaf>,
}

impl Reader<'_, '_> {
    /// Returns the names of modules and tensors in `module` that the file records.
    fn children(&self, module: &str) -> BTreeSet<&str> {
        let below = below(module);
        let tensors = self.dict.tensors.range(below.clone()..).map(|(name, _)| name);
        let modules = self.dict.modules.range(below.clone()..).map(|(name, _)| name);
        let of = |name: &&String| name.starts_with(&below);
        let child = |name| -> Option<&str> { String::as_str(name).get(below.len()..)?.split('.').next() };
        let is_name = |name: &&str| !name.is_empty();
        tensors.take_while(of).chain(modules.take_while(of)).filter_map(child).filter(is_name).collect()
    }

    /// Whether the modules in `module` are executed one after the other: it is a `Sequential`, or its modules are numbered.
    fn is_sequence(&self, module: &str) -> bool {
        match self.dict.modules.get(module).and_then(|recorded| recorded.class.as_deref()) {
            Some(class) => class == SEQUENTIAL,
            None => self.children(module).iter().all(|name| name.parse::<usize>().is_ok()),
        }
    }

    fn read(&mut self, name: &str, depth: usize) {
        let content = if self.dense.contains(name) {
            Content::Dense
        } else if self.dict.tensors.contains_key(&format!("{name}.running_mean")) {
            Content::Norm
        } else {
            match Kind::of(self.dict, name) {
                Some(Kind::Container) | None if depth < MAX_DEPTH && self.is_sequence(name) => {
                    return self.sequence(name, depth);
                }
                Some(kind) => Content::Known(kind),
                None => Content::Unknown,
            }
        };
        self.leaves.push(Leaf { name: name.to_owned(), content });
    }

    fn sequence(&mut self, module: &str, depth: usize) {
        let below = below(module);
        let recorded = self.dict.modules.get(module).map(|module| module.children.as_slice()).unwrap_or_default();
        if !recorded.is_empty() {
            for child in recorded {
                self.read(&format!("{below}{child}"), depth + 1);
            }
            return;
        }
        let numbers: BTreeSet<usize> = self.children(module).iter().filter_map(|name| name.parse().ok()).collect();
        let unknown = |number: usize| Leaf { name: format!("{below}{number}"), content: Content::Unknown };
        let mut expected = 0;
        for number in numbers {
            // Modules without tensors are missing in a state dict.
            if expected < number {
                self.leaves.push(unknown(expected));
            }
            expected = number.saturating_add(1);
            self.read(&format!("{below}{number}"), depth + 1);
        }
        // So may be the last ones of a nested `Sequential`.
        if depth > 0 {
            self.leaves.push(unknown(expected));
        }
    }
}

/// Finds the parts of the head in `leaves`. `scores` are all softmax and sigmoid modules of the file, and `assumed` is the
/// activation between dense layers that the user has specified for a file that records none.
///
/// # Errors
/// If a module between two parts is not of the family, or the file does not record it.
pub fn find(
    leaves: Vec<Leaf>,
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
    let is_part = |leaf: &Leaf| matches!(leaf.content, Content::Dense | Content::Norm);
    let found = leaves.iter().filter(|leaf| leaf.content == Content::Dense).count();
    let (Some(first), Some(last), true) =
        (leaves.iter().position(is_part), leaves.iter().rposition(is_part), found == dense.len())
    else {
        let names: Vec<_> = dense.iter().take(8).map(|name| format!("'{}'", shorten(name))).collect();
        return Err(ImportError::unsupported("more than one dense layer")
            .role("classifier")
            .expected("one after the pool, or several in one `Sequential`")
            .found(names.join(", ")));
    };
    let before = leaves.iter().take(first).map(|leaf| leaf.name.clone()).collect();
    let mut parts: Vec<(String, Part)> = Vec::new();
    // A module between the last part and the next one whose class is unknown.
    let mut unknown: Option<String> = None;
    for Leaf { name, content } in leaves.iter().take(last + 1).skip(first) {
        let part = match content {
            Content::Dense => Part::Dense,
            Content::Norm => Part::Norm,
            Content::Unknown => {
                unknown.get_or_insert_with(|| name.clone());
                continue;
            }
            Content::Known(Kind::Transparent) => continue,
            Content::Known(Kind::Activation(activation)) => {
                parts.push((name.clone(), Part::Activation(*activation)));
                continue;
            }
            Content::Known(_) => {
                return Err(unexpected(name, "unexpected module before the classifier", "ReLU, ReLU6 or dropout"));
            }
        };
        let previous = parts.iter().rev().map(|(_, part)| *part).find(|part| !matches!(part, Part::Activation(_)));
        match (unknown.take(), assumed) {
            (Some(between), Some(activation)) if part == Part::Dense && previous == Some(Part::Dense) => {
                parts.push((between, Part::Activation(activation)));
            }
            (Some(between), _) => return Err(unrecorded(&between)),
            (None, _) => {}
        }
        parts.push((name.clone(), part));
    }
    for leaf in leaves.iter().skip(last + 1) {
        if let Content::Known(Kind::Activation(activation)) = leaf.content {
            const EXPECTED: &str = "the end of the network, a softmax or a sigmoid";
            return Err(
                unexpected(&leaf.name, "unexpected activation after the classifier", EXPECTED).found(activation.word())
            );
        }
    }
    Ok(Head { parts, before, scores })
}

fn unexpected(name: &str, problem: &str, expected: &str) -> Box<ImportError> {
    ImportError::unsupported(problem).at(format!("module '{}'", shorten(name))).role("classifier").expected(expected)
}

fn unrecorded(name: &str) -> Box<ImportError> {
    ImportError::unsupported("a module of the head is not recorded in the file")
        .at(format!("module '{}'", shorten(name)))
        .role("classifier")
        .help(format!(
            "for an activation between dense layers, pass a spec with `head: {{ dense: ..., dense_activation: ... }}` \
             (--spec FILE); or {}",
            super::dict::EXPORT
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::DType;
    use crate::state_dict::layers::{Named, found_for_tests};
    use crate::state_dict::{Module, Stored};

    /// Tensors of modules `head.NAME`, and modules with a class.
    fn dict(tensors: &[&str], modules: &[(&str, &str)]) -> StateDict<'static> {
        let tensor = |name: &&str| (format!("head.{name}"), Ok(Stored::whole(DType::F32, vec![0], &[])));
        let module = |(name, class): &(&str, &str)| {
            let class = Some(format!("torch.nn.modules.{class}"));
            (format!("head.{name}"), Module { class, ..Module::default() })
        };
        StateDict {
            tensors: tensors.iter().map(tensor).collect(),
            modules: modules.iter().map(module).collect(),
            ..StateDict::default()
        }
    }

    fn parts(dict: &StateDict<'_>, dense: &[&str], assumed: Option<Activation>) -> Result<Vec<Part>> {
        let dense: Vec<String> = dense.iter().map(|number| format!("head.{number}")).collect();
        let head = Named { conv: "features.9.0".into(), norm: "features.9.1".into() };
        let leaves = leaves(dict, &found_for_tests(head, dense.clone()));
        let head = find(leaves, &dense, &[], assumed)?;
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
        let nested = dict(&["0.running_mean", "1.0.weight", "1.1.running_mean"], &[]);
        assert_eq!(parts(&nested, &["1.0"], None).unwrap(), [Part::Norm, Part::Dense, Part::Norm]);
        for hidden in [["0.running_mean", "1.1.weight"], ["0.0.running_mean", "1.weight"]] {
            let dense = hidden[1].trim_end_matches(".weight");
            assert!(parts(&dict(&hidden, &[]), &[dense], None).is_err(), "{dense}");
        }
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
        let named = dict(&["fc1.weight", "fc2.weight"], &[]);
        assert!(parts(&named, &["fc1", "fc2"], None).unwrap_err().to_string().contains("more than one dense layer"));
    }

    #[test]
    fn the_order_of_named_modules_is_that_of_their_sequential() {
        let classes = [("fc", "linear.Linear"), ("act", "activation.ReLU"), ("embed", "linear.Linear")];
        let mut named = dict(&["fc.weight", "embed.weight"], &classes);
        let class = Some("torch.nn.modules.container.Sequential".to_owned());
        let children = ["embed", "act", "fc"].map(str::to_owned).to_vec();
        named.modules.insert("head".into(), Module { class, children, ..Module::default() });
        let found = parts(&named, &["embed", "fc"], None).unwrap();
        assert_eq!(found, [Part::Dense, Part::Activation(Activation::Relu), Part::Dense]);
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
