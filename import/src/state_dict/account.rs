//! Accounts for every tensor of a file: it belongs to the network, is known to be irrelevant for inference, or is an error.

use std::collections::{BTreeMap, BTreeSet};

use super::dict::{StateDict, Stored};
use crate::error::{ImportError, Result};
use crate::source::Fact;
use crate::text::shorten;

/// Name prefixes of losses, metrics and other entries that only training uses.
const TRAINING: [&str; 8] = ["criterion", "loss", "metric", "class_weight", "train_", "val_", "valid_", "test_"];
/// Name prefixes of numbers that checkpoints record beside the network.
const RECORDS: [&str; 9] = ["best", "acc", "prec", "top", "avg", "epoch", "lr", "step", "global_step"];
/// Name prefixes of checkpoint entries outside the network.
const BESIDE: [&str; 12] = [
    "optim",
    "lr_sched",
    "sched",
    "scaler",
    "amp",
    "grad_scaler",
    "callbacks",
    "loops",
    "rng",
    "cuda_rng",
    "torch_rng",
    "hyper_parameters",
];

/// Checks the tensors that are not in `used`. `copies` are prefixes of other copies of the network, whose own prefix is
/// `prefix`. Returns a fact that lists what is ignored and why.
///
/// # Errors
/// If a tensor is neither used nor known to be irrelevant.
pub fn check(dict: &StateDict<'_>, used: &BTreeSet<String>, prefix: &str, copies: &[String]) -> Result<Option<Fact>> {
    let root = common_root(used);
    let copies: Vec<[&str; 2]> = copies.iter().map(|copy| differing(prefix, copy)).collect();
    let mut ignored: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, tensor) in dict.tensors.iter().filter(|(name, _)| !used.contains(*name)) {
        match reason(name, &root, used, &copies) {
            Some(reason) => ignored.entry(reason).or_default().push(name),
            None => match tensor.as_ref().ok().and_then(|tensor| number(name, tensor, &root)) {
                Some(reason) => ignored.entry(reason).or_default().push(name),
                None => unknown.push(name),
            },
        }
    }
    if let Some(first) = unknown.first() {
        let found: Vec<_> = unknown.iter().take(4).map(|name| format!("'{}'", shorten(name))).collect();
        let more = if unknown.len() > found.len() {
            format!(" and {} more", unknown.len() - found.len())
        } else {
            String::new()
        };
        return Err(ImportError::unsupported("the file has tensors that are not part of MobileNetV2")
            .at(format!("tensor '{}'", shorten(first)))
            .expected("weights and biases of convolutions, dense layers and batch normalizations")
            .found(format!("{}{more}", found.join(", ")))
            .help(
                "if they take part in inference, export the model to ONNX: `torch.onnx.export(model, image, \"model.onnx\", dynamo=False)`; if not, \
                 remove them from the state dict",
            ));
    }
    let count: usize = ignored.values().map(Vec::len).sum();
    let how: Vec<_> = ignored.iter().map(|(reason, names)| format!("{reason}: {}", listed(names))).collect();
    let one = |count| if count == 1 { "1 tensor".to_owned() } else { format!("{count} tensors") };
    Ok((count > 0).then(|| Fact { key: "ignored", value: one(count), how: how.join("; ") }))
}

/// Returns why a tensor is irrelevant for inference, if it is.
fn reason(name: &str, root: &[String], used: &BTreeSet<String>, copies: &[[&str; 2]]) -> Option<&'static str> {
    if name.ends_with(".num_batches_tracked") {
        return Some("counters");
    }
    let is_copy =
        |[own, other]: &[&str; 2]| name.strip_prefix(other).is_some_and(|rest| used.contains(&format!("{own}{rest}")));
    if copies.iter().any(is_copy) {
        return Some("another copy of the network");
    }
    // The first part of the name that differs from the names of the network, and whether the network contains it.
    let mut parts = name.split('.');
    let shared = root.iter().take_while(|part| parts.clone().next() == Some(part) && parts.next().is_some()).count();
    let part = parts.next()?.to_ascii_lowercase();
    let starts = |words: &[&str]| words.iter().any(|word| part.starts_with(word));
    if starts(&TRAINING) {
        return Some("losses and metrics");
    }
    (shared < root.len() && starts(&BESIDE)).then_some("training state")
}

/// Returns why an unused tensor is irrelevant. Inside the network: a single integer. Outside: any integer tensor, or a
/// single number with a name in [`RECORDS`].
fn number(name: &str, tensor: &Stored<'_>, root: &[String]) -> Option<&'static str> {
    let is_single = tensor.shape().iter().product::<usize>() == 1;
    let is_inside = root.iter().zip(name.split('.')).all(|(part, other)| part == other);
    if !tensor.is_float() {
        return (is_single || !is_inside).then_some("integer tensors");
    }
    let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    let is_record = RECORDS.iter().any(|word| last.starts_with(word));
    let is_beside = root.is_empty() || !is_inside;
    (is_single && is_record && is_beside).then_some("training state")
}

/// Whether a module or tensor is a loss or a metric.
pub fn is_of_training(name: &str) -> bool {
    name.split('.').any(|part| {
        let part = part.to_ascii_lowercase();
        TRAINING.iter().any(|word| part.starts_with(word))
    })
}

/// Returns the components that all names start with.
fn common_root(names: &BTreeSet<String>) -> Vec<String> {
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return Vec::new() };
    // Names between the first and the last share what these share.
    let shared = first.split('.').zip(last.split('.')).take_while(|(one, other)| one == other);
    shared.map(|(part, _)| part.to_owned()).collect()
}

/// Removes the common end of two prefixes.
pub fn differing<'p>(own: &'p str, other: &'p str) -> [&'p str; 2] {
    let common: usize = own
        .split_inclusive('.')
        .rev()
        .zip(other.split_inclusive('.').rev())
        .take_while(|(one, other)| one == other)
        .map(|(part, _)| part.len())
        .sum();
    [&own[..own.len() - common], &other[..other.len() - common]]
}

fn listed(names: &[&str]) -> String {
    let first = names.first().map(|name| shorten(name)).unwrap_or_default();
    match names.len() {
        1 => first,
        count => format!("{first} and {} more", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::DType;
    use crate::state_dict::Stored;

    fn dict(names: &[&str]) -> StateDict<'static> {
        let tensor = |name: &&str| {
            let dtype = if name.ends_with("count") || name.ends_with("indices") { DType::I64 } else { DType::F32 };
            let shape = if name.ends_with("count") || name.ends_with("acc1") { vec![1] } else { vec![3] };
            ((*name).to_owned(), Ok(Stored::whole(dtype, shape, &[])))
        };
        StateDict { tensors: names.iter().map(tensor).collect(), ..StateDict::default() }
    }

    fn checked(names: &[&str], prefix: &str, copies: &[&str]) -> Result<Option<Fact>> {
        let used = ["features.0.weight", "features.1.weight", "fc.bias"].map(|name| format!("{prefix}{name}"));
        let mut all = names.to_vec();
        all.extend(used.iter().map(String::as_str));
        let copies: Vec<_> = copies.iter().map(|copy| (*copy).to_owned()).collect();
        check(&dict(&all), &used.clone().into(), prefix, &copies)
    }

    #[test]
    fn what_inference_does_not_need_is_ignored() {
        for (name, prefix, reason) in [
            ("features.1.num_batches_tracked", "", "counters"),
            ("features.1.count", "", "integer tensors"),
            ("optimizer.state.0.momentum_buffer", "state_dict.", "training state"),
            ("optimizer_states.0.state.1.exp_avg", "state_dict.model.", "training state"),
            ("callbacks.best.current_score", "state_dict.", "training state"),
            ("state_dict.criterion.weight", "state_dict.model.", "losses and metrics"),
            ("loss_fn.weight", "", "losses and metrics"),
            ("state_dict.class_weights", "state_dict.model.", "losses and metrics"),
            ("best_acc1", "state_dict.", "training state"),
            ("rows.indices", "state_dict.", "integer tensors"),
        ] {
            let fact = checked(&[name], prefix, &[]).unwrap().unwrap();
            assert_eq!((&*fact.value, fact.how), ("1 tensor", format!("{reason}: {name}")));
        }
        assert_eq!(checked(&[], "model.", &[]).unwrap(), None);
        let fact = checked(&["a.features.0.weight", "a.fc.bias"], "a_ema.", &["a."]).unwrap().unwrap();
        assert_eq!(fact.how, "another copy of the network: a.fc.bias and 1 more");
    }

    #[test]
    fn every_other_tensor_is_an_error() {
        for (name, prefix) in [
            ("temperature", ""),
            ("temperature", "state_dict."),
            ("features.0.indices", ""),
            ("state_dict.features.best_acc1", "state_dict."),
            ("state_dict.temperature", "state_dict.model."),
            ("features.0.gate", ""),
            ("features.0.scaler", ""),
            ("scaler.weight", ""),
            ("fc.ln.weight", ""),
            ("a.features.2.weight", "a_ema."),
        ] {
            let error = checked(&[name], prefix, &["a."]).unwrap_err().to_string();
            assert!(error.contains(&format!("tensor '{name}'")), "{error}");
        }
    }
}
