//! Modules next to the classifier in a `Sequential`: normalizations that fold into it, and the activation after it.

use mbvc_runtime::HeadActivation;

use super::dict::StateDict;
use super::modules::Kind;
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Modules around the fully connected layer.
#[derive(Debug, Default, PartialEq)]
pub struct Head {
    /// Normalizations between pool and classifier, in order.
    pub before: Vec<String>,
    /// Normalizations of the logits, in order.
    pub after: Vec<String>,
    /// Activation of the logits, and the module's name.
    pub scores: Option<(String, HeadActivation)>,
}

/// Finds the modules around `classifier`; `scores` are all activations of the head that the file records.
///
/// # Errors
/// If a module next to the classifier cannot be folded into it, or the file does not record what lies between them.
pub fn find(dict: &StateDict<'_>, classifier: &str, scores: &[(String, HeadActivation)]) -> Result<Head> {
    let mut head = Head::default();
    match scores {
        [] => {}
        [one] => head.scores = Some(one.clone()),
        [one, other, ..] => {
            return Err(ImportError::unsupported("the network has several softmax or sigmoid modules")
                .role("output")
                .found(format!("'{}' and '{}'", shorten(&one.0), shorten(&other.0))));
        }
    }
    let Some((parent, own)) = classifier.rsplit_once('.').and_then(|(parent, own)| Some((parent, own.parse().ok()?)))
    else {
        return Ok(head);
    };
    let own: usize = own;
    let name = |number: usize| format!("{parent}.{number}");
    let is_norm = |number: &usize| dict.tensors.contains_key(&format!("{}.running_mean", name(*number)));
    // `Sequential` numbers its modules from 0.
    head.before = (0..own).filter(is_norm).map(name).collect();
    head.after = (own + 1..own + 1 + MOST_AFTER).filter(is_norm).map(name).collect();
    let first = (0..own).find(is_norm);
    let last = (own + 1..own + 1 + MOST_AFTER).rfind(is_norm);
    for number in first.unwrap_or(own)..=last.unwrap_or(own) {
        if number == own || is_norm(&number) {
            continue;
        }
        match Kind::of(dict, &name(number)) {
            Some(Kind::Transparent) => {}
            Some(_) => {
                return Err(ImportError::unsupported("unexpected module between a normalization and the classifier")
                    .at(format!("module '{}'", shorten(&name(number))))
                    .role("classifier")
                    .expected("only dropout"));
            }
            None => {
                return Err(ImportError::unsupported(
                    "the file does not record what lies between a normalization and the classifier",
                )
                .at(format!("module '{}'", shorten(&name(number))))
                .role("classifier")
                .expected("a batch normalization directly before or after the fully connected layer")
                .help("export the model to ONNX: `torch.onnx.export(model, image, FILE)`"));
            }
        }
    }
    // Without modules, an activation after the classifier is unknown, as it is in the code of most training loops.
    for number in own + 1..own + 1 + MOST_AFTER {
        if let Some(Kind::Activation(activation)) = Kind::of(dict, &name(number)) {
            return Err(ImportError::unsupported("the logits have an activation that is no head activation")
                .at(format!("module '{}'", shorten(&name(number))))
                .role("output")
                .expected("the end of the network, a softmax or a sigmoid")
                .found(activation.word()));
        }
    }
    Ok(head)
}

/// Most modules after the classifier that are searched.
const MOST_AFTER: usize = 8;
