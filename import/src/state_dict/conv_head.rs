//! Classifiers of 1x1 convolutions. The average pool may be before or after them; the result is the same only if no other
//! function is between the first one and the pool.

use mbvc_runtime::HeadActivation;

use super::dict::StateDict;
use super::head::{Content, Leaf};
use super::kind::Kind;
use super::layers::Layers;
use crate::error::{ImportError, Result};
use crate::text::shorten;

const EXPORT: &str = "export the model to ONNX: `torch.onnx.export(model, image, \"model.onnx\", dynamo=False)`";

/// Checks that `leaves` have the average pool before the first activation after a 1x1 convolution. `scores` are all softmax
/// and sigmoid modules of the file.
///
/// # Errors
/// If an activation is before the pool, or the file does not record what follows a convolution.
pub fn check(
    dict: &StateDict<'_>,
    layers: &Layers,
    leaves: &[Leaf],
    scores: &[(String, HeadActivation)],
) -> Result<()> {
    let is_conv = |name: &&String| {
        let weight = dict.tensors.get(&format!("{name}.weight")).and_then(|weight| weight.as_ref().ok());
        weight.is_some_and(|weight| weight.shape().len() == 4)
    };
    let Some(conv) = layers.dense.iter().find(is_conv) else { return Ok(()) };
    let refuse = |problem: &str, name: &str| {
        ImportError::unsupported(problem)
            .at(format!("module '{}'", shorten(name)))
            .role("classifier")
            .expected("a linear layer, or 1x1 convolutions with the average pool before every activation")
            .help(EXPORT)
    };
    if dict.modules.values().all(|module| module.class.is_none()) {
        const PROBLEM: &str = "the classifier is a 1x1 convolution, and the file does not record whether an activation is between it and the average pool";
        return Err(refuse(PROBLEM, conv));
    }
    const BEFORE: &str = "the activation may be between a 1x1 convolution and the average pool";
    let first = leaves.iter().position(|leaf| leaf.content == Content::Dense).unwrap_or(0);
    let pool = leaves.iter().rposition(|leaf| matches!(leaf.content, Content::Known(Kind::Pool(_))));
    let is_activation =
        |leaf: &Leaf| matches!(leaf.content, Content::Known(Kind::Activation(_) | Kind::Scores(_)) | Content::Unknown);
    if let Some((_, leaf)) = leaves
        .iter()
        .enumerate()
        .skip(first)
        .find(|(at, leaf)| is_activation(leaf) && pool.is_none_or(|pool| pool > *at))
    {
        return Err(refuse(BEFORE, &leaf.name));
    }
    // After the module that contains the leaves, or in a module whose code is not in the file.
    match scores.iter().find(|(name, _)| pool.is_none() && leaves.iter().all(|leaf| leaf.name != *name)) {
        Some((name, _)) => Err(refuse(BEFORE, name)),
        None => Ok(()),
    }
}
