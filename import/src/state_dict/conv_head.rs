//! The 1x1 convolutions after the blocks: the network's last one, and classifiers. The average pool may be before or after a
//! classifier; the result is the same only if no other function is between the first one and the pool.

use mbvc_runtime::HeadActivation;

use super::dict::{EXPORT, StateDict};
use super::family::Sidecars;
use super::head::{Content, Leaf};
use super::kind::Kind;
use super::layers::Layers;
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Checks that the last convolution of the network is before the pool, and that `leaves` have the pool before the first
/// activation after a 1x1 convolution. `scores` are all softmax
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
    check_last(dict, layers)?;
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

/// Checks that the last convolution is before the pool. In MobileNetV3, whose names in timm are the same, it is after the pool
/// and has no batch normalization.
fn check_last(dict: &StateDict<'_>, layers: &Layers) -> Result<()> {
    let has = |norm: &str| dict.tensors.contains_key(&format!("{norm}.running_var"));
    if layers.family.sidecars != Sidecars::Timm || has(&layers.head.norm) || !has(&layers.stem.norm) {
        return Ok(());
    }
    Err(ImportError::unsupported("the last convolution has no batch normalization, as in MobileNetV3")
        .at(format!("module '{}'", shorten(&layers.head.conv)))
        .role("head")
        .expected(format!("tensors of '{}'", shorten(&layers.head.norm)))
        .help(EXPORT))
}

#[cfg(test)]
mod tests {
    use mbvc_compiler::spec::Activation;

    use super::*;
    use crate::source::DType;
    use crate::state_dict::family::FAMILIES;
    use crate::state_dict::layers::{Named, found_for_tests};
    use crate::state_dict::{Module, Stored};

    /// Checks modules in order, of which those named `conv` are 1x1 convolutions.
    fn checked(modules: &[(&str, Content)], scores: &[&str], has_classes: bool) -> Result<()> {
        let weight = |rank: usize| Ok(Stored::whole(DType::F32, vec![1; rank], &[]));
        let dense =
            modules.iter().filter(|(_, content)| *content == Content::Dense).map(|(name, _)| (*name).to_owned());
        let dense: Vec<String> = dense.collect();
        let rank = |name: &str| if name.starts_with("conv") { 4 } else { 2 };
        let class = has_classes.then(|| "torch.nn.Module".to_owned());
        let dict = StateDict {
            tensors: dense.iter().map(|name| (format!("{name}.weight"), weight(rank(name)))).collect(),
            modules: [(String::new(), Module { class, ..Module::default() })].into(),
            ..StateDict::default()
        };
        let head = Named { conv: "features.9.0".into(), norm: "features.9.1".into() };
        let leaf = |(name, content): &(&str, Content)| Leaf { name: (*name).to_owned(), content: *content };
        let leaves: Vec<Leaf> = modules.iter().map(leaf).collect();
        let scores: Vec<_> = scores.iter().map(|name| ((*name).to_owned(), HeadActivation::Softmax)).collect();
        check(&dict, &found_for_tests(head, dense), &leaves, &scores)
    }

    #[test]
    fn the_last_convolution_has_a_batch_normalization_if_the_stem_has_one() {
        let timm = FAMILIES.iter().find(|family| family.sidecars == Sidecars::Timm).unwrap();
        let named = |conv: &str, norm: &str| Named { conv: conv.into(), norm: norm.into() };
        let layers = Layers {
            family: timm,
            stem: named("conv_stem", "bn1"),
            ..found_for_tests(named("conv_head", "bn2"), Vec::new())
        };
        let checked = |norms: &[&str]| {
            let weight = || Ok(Stored::whole(DType::F32, vec![1], &[]));
            let tensors = norms.iter().map(|norm| (format!("{norm}.running_var"), weight())).collect();
            check_last(&StateDict { tensors, ..StateDict::default() }, &layers)
        };
        assert!(checked(&["bn1", "bn2"]).is_ok() && checked(&[]).is_ok());
        let error = checked(&["bn1"]).unwrap_err().to_string();
        assert!(error.contains("module 'conv_head'") && error.contains("MobileNetV3"), "{error}");
    }

    #[test]
    fn the_pool_is_before_the_first_activation() {
        let [conv, last, linear] = ["conv", "conv2", "fc"].map(|name| (name, Content::Dense));
        let relu = ("relu", Content::Known(Kind::Activation(Activation::Relu)));
        let softmax = ("softmax", Content::Known(Kind::Scores(HeadActivation::Softmax)));
        let pool = ("pool", Content::Known(Kind::Pool(None)));
        for modules in [
            &[conv, pool][..],
            &[conv, pool, softmax],
            &[pool, conv, relu, last],
            &[relu, conv, pool],
            &[conv, last, pool],
            &[linear, relu, linear, softmax],
        ] {
            checked(modules, &["softmax"], true).unwrap_or_else(|error| panic!("{modules:?}: {error}"));
        }
        for modules in [
            &[conv, softmax, pool][..],
            &[conv, relu, last, pool],
            &[pool, conv, relu, pool],
            &[conv, softmax],
            &[conv, ("0", Content::Unknown), pool],
            &[linear, relu, conv, pool],
        ] {
            let error = checked(modules, &[], true).unwrap_err().to_string();
            assert!(error.contains("may be between a 1x1 convolution and the average pool"), "{modules:?}: {error}");
        }
        // In a module whose code the file does not contain.
        assert!(checked(&[conv], &["elsewhere"], true).unwrap_err().to_string().contains("module 'elsewhere'"));
        assert!(checked(&[conv], &[], true).is_ok());
        let error = checked(&[conv], &[], false).unwrap_err().to_string();
        assert!(error.contains("module 'conv'") && error.contains("does not record"), "{error}");
    }
}
