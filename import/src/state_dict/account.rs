//! Accounts for every tensor of a file: it belongs to the network, is known to be irrelevant for inference, or is an error.

use std::collections::{BTreeMap, BTreeSet};

use super::dict::{EXPORT, StateDict, Stored};
use crate::error::{ImportError, Result};
use crate::source::Fact;
use crate::text::{counted, shorten};

/// Words of the names of modules that only training uses, and the words that make one of them such a name.
const LOSSES: Words<'_> = Words {
    key: &["criterion", "loss", "losses"],
    other: &["train", "val", "valid", "test", "fn", "func", "function", "ce", "bce", "cross", "entropy", "focal"],
    pairs: &[],
};
/// Words of the names of numbers that checkpoints record beside the network.
const RECORDS: Words<'_> = Words {
    key: &[
        "best", "acc", "accuracy", "prec", "top1", "top5", "loss", "epoch", "epochs", "lr", "step", "steps", "iter",
        "score",
    ],
    other: &[
        "train", "val", "valid", "test", "eval", "avg", "mean", "min", "max", "global", "current", "last", "model",
    ],
    pairs: &[],
};
/// Words of the names of checkpoint entries outside the network.
const BESIDE: Words<'_> = Words {
    key: &[
        "optim",
        "optimizer",
        "optimizers",
        "sched",
        "scheduler",
        "schedulers",
        "callbacks",
        "loops",
        "rng",
        "hyper",
    ],
    other: &[
        "lr",
        "warmup",
        "state",
        "states",
        "dict",
        "cuda",
        "torch",
        "cpu",
        "gpu",
        "np",
        "numpy",
        "python",
        "parameters",
        "message",
        "random",
        "hub",
    ],
    pairs: &[
        ["random", "state"],
        ["random", "states"],
        ["random", "torch"],
        ["random", "cuda"],
        ["random", "numpy"],
        ["random", "np"],
        ["random", "python"],
        ["message", "hub"],
    ],
};
/// Counters of averaged weights (`torch.optim.swa_utils`, `ema_pytorch`) and of updates.
const COUNTERS: [&str; 3] = ["n_averaged", "num_updates", "initted"];

/// Words of a name.
struct Words<'w> {
    /// One of these is in the name, or one of `pairs`.
    key: &'w [&'w str],
    other: &'w [&'w str],
    pairs: &'w [[&'w str; 2]],
}

impl Words<'_> {
    /// Whether all words of the name, which underscores separate, are known. A number after a word is not part of it.
    fn are_of(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let has = |known: &[&str], word: &str| {
            known.contains(&word) || known.contains(&word.trim_end_matches(|letter: char| letter.is_ascii_digit()))
        };
        let mut words = name.split('_');
        let has_pair = |pair: &[&str; 2]| pair.iter().all(|key| name.split('_').any(|word| has(&[key], word)));
        (words.clone().any(|word| has(self.key, word)) || self.pairs.iter().any(has_pair))
            && words.all(|word| has(self.key, word) || has(self.other, word) || word.parse::<u32>().is_ok())
    }
}

/// Checks the tensors that are not in `used`. `copies` are prefixes of other copies of the network, whose own prefix is
/// `prefix`. Returns a fact that lists what is ignored and why.
///
/// # Errors
/// If a tensor is neither used nor known to be irrelevant.
pub fn check(dict: &StateDict<'_>, used: &BTreeSet<String>, prefix: &str, copies: &[String]) -> Result<Option<Fact>> {
    let root = common_root(used);
    let copies: Vec<[&str; 2]> = copies.iter().map(|copy| differing(prefix, copy)).collect();
    let mut ignored: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let network_depth = if dict.arrays.is_empty() { 0 } else { network_depth(dict, &root, used) };
    let (mut unknown, mut unreadable) = (Vec::new(), None);
    for (name, tensor) in dict.tensors.iter().filter(|(name, _)| !used.contains(*name)) {
        match reason(name, &root, used, &copies) {
            Some(reason) => ignored.entry(reason).or_default().push(name),
            None if dict.arrays.contains(name) && common(&root, name) < network_depth => {
                ignored.entry("NumPy arrays beside the network").or_default().push(name);
            }
            None => match tensor.as_ref().ok().and_then(|tensor| number(name, tensor, &root)) {
                Some(reason) => ignored.entry(reason).or_default().push(name),
                None => {
                    unreadable = unreadable.or(tensor.as_ref().err().map(|error| (name, error)));
                    unknown.push(name);
                }
            },
        }
    }
    if let Some((name, error)) = unreadable {
        let help = error.help.as_ref().map(|help| format!("{help}; ")).unwrap_or_default();
        return Err(error
            .clone()
            .at(format!("tensor '{}'", shorten(name)))
            .help(format!("{help}if the entry does not take part in inference, remove it from the file")));
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
            .help(format!("if they take part in inference, {EXPORT}; if not, remove them from the state dict")));
    }
    let count: usize = ignored.values().map(Vec::len).sum();
    let how: Vec<_> = ignored.iter().map(|(reason, names)| format!("{reason}: {}", listed(names))).collect();
    Ok((count > 0).then(|| Fact { key: "ignored", value: counted(count, "tensor"), how: how.join("; ") }))
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
    let part = parts.next()?;
    // A tensor of a module; a parameter of the network itself may have any name.
    if parts.next().is_some() && LOSSES.are_of(part) {
        return Some("losses");
    }
    (shared < root.len() && BESIDE.are_of(part)).then_some("training state")
}

/// Returns the number of leading components of `root` outside the network, such as the key of a checkpoint entry. The
/// network begins at the first module with a class, or the first dictionary that contains one of its tensors.
fn network_depth(dict: &StateDict<'_>, root: &[String], used: &BTreeSet<String>) -> usize {
    let contains = |depth: &usize| {
        let place = root[..*depth].join(".");
        let is_module = dict.modules.get(&place).is_some_and(|module| module.class.is_some());
        is_module || used.iter().any(|name| dict.holders.get(name) == Some(&place.len()))
    };
    (0..root.len()).find(contains).unwrap_or(root.len())
}

/// Returns why an unused tensor is irrelevant: a single number outside the network with a known name.
fn number(name: &str, tensor: &Stored<'_>, root: &[String]) -> Option<&'static str> {
    let is_single = tensor.shape().iter().product::<usize>() == 1;
    let is_inside = root.iter().zip(name.split('.')).all(|(part, other)| part == other);
    if !is_single || is_inside {
        return None;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if !tensor.is_float() && COUNTERS.contains(&last) {
        return Some("counters");
    }
    RECORDS.are_of(last).then_some("training state")
}

/// Returns the name of the loss beside the network that is or contains this module. The body of the network has this prefix.
pub fn loss<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let mut prefix = prefix.split_terminator('.').peekable();
    let mut length = 0;
    for part in name.split('.') {
        length += part.len();
        if prefix.next_if_eq(&part).is_none() {
            return name.get(..length).filter(|_| LOSSES.are_of(part));
        }
        length += 1;
    }
    None
}

/// Returns the number of components of `root` that the name starts with.
fn common(root: &[String], name: &str) -> usize {
    root.iter().zip(name.split('.')).take_while(|(part, other)| part == other).count()
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
    use crate::state_dict::{Module, Stored};

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
            ("optimizer.state.0.momentum_buffer", "state_dict.", "training state"),
            ("optimizer_states.0.state.1.exp_avg", "state_dict.model.", "training state"),
            ("callbacks.best.current_score", "state_dict.", "training state"),
            ("optimizer_state_dict.state.0.exp_avg", "model.", "training state"),
            ("cuda_rng_state", "state_dict.", "training state"),
            ("numpy_random_state.1", "state_dict.", "training state"),
            ("message_hub.log_scalars.loss._log_history", "state_dict.", "training state"),
            ("lr_scheduler.base", "state_dict.", "training state"),
            ("state_dict.criterion.weight", "state_dict.model.", "losses"),
            ("loss_fn.weight", "", "losses"),
            ("best_acc1", "state_dict.", "training state"),
            ("val_loss_acc1", "model.", "training state"),
        ] {
            let fact = checked(&[name], prefix, &[]).unwrap().unwrap();
            assert_eq!((&*fact.value, fact.how), ("1 tensor", format!("{reason}: {name}")));
        }
        assert_eq!(checked(&[], "model.", &[]).unwrap(), None);
        let fact = checked(&["a.features.0.weight", "a.fc.bias"], "a_ema.", &["a."]).unwrap().unwrap();
        assert_eq!(fact.how, "another copy of the network: a.fc.bias and 1 more");
    }

    #[test]
    fn the_reason_of_an_unreadable_tensor_is_reported() {
        let mut dict = dict(&["a.weight", "b.weight", "optimizer.state"]);
        for name in ["b.weight", "optimizer.state"] {
            dict.tensors.insert(name.into(), Err(ImportError::unsupported("a sparse tensor")));
        }
        let used = ["net.a.weight", "net.b.weight"].map(str::to_owned).into();
        let error = check(&dict, &used, "net.", &[]).unwrap_err().to_string();
        assert!(error.starts_with("tensor 'b.weight': a sparse tensor"), "{error}");
    }

    #[test]
    fn numpy_arrays_are_ignored_outside_the_network() {
        let checked = |name: &str, prefix: &str, holder: &str, class: Option<&str>| {
            let used = ["features.0.weight", "fc.bias"].map(|name| format!("{prefix}{name}"));
            let mut dict = dict(&used.each_ref().map(String::as_str));
            dict.holders = used.iter().map(|name| (name.clone(), holder.len())).collect();
            dict.tensors.insert(name.into(), Err(ImportError::unsupported("unsupported NumPy array")));
            dict.arrays.insert(name.into());
            if let Some(class) = class {
                dict.modules.insert(String::new(), Module { class: Some(class.into()), ..Module::default() });
            }
            check(&dict, &used.into(), prefix, &[])
        };
        for (name, prefix, holder) in [
            ("class_weights", "state_dict.", "state_dict"),
            ("best_acc", "state_dict.model.", "state_dict"),
            ("logs.confusion_matrix", "model.", "model"),
        ] {
            let fact = checked(name, prefix, holder, None).unwrap().unwrap();
            assert_eq!(fact.how, format!("NumPy arrays beside the network: {name}"));
        }
        for (name, prefix, holder, class) in [
            ("class_weights", "", "", None),
            ("class_weights", "model.", "", None),
            ("state_dict.class_weights", "state_dict.", "state_dict", None),
            ("state_dict.class_weights", "state_dict.model.", "state_dict", None),
            ("state_dict.features.0.scale", "state_dict.", "state_dict", None),
            ("mean", "backbone.", "backbone.features.0", Some("mine.Net")),
        ] {
            let error = checked(name, prefix, holder, class).unwrap_err().to_string();
            assert!(error.starts_with(&format!("tensor '{name}': unsupported NumPy array")), "{error}");
        }
    }

    #[test]
    fn losses_are_beside_the_network() {
        assert_eq!(loss("net.loss_fn.ce", "net.body."), Some("net.loss_fn"));
        assert_eq!(loss("criterion", ""), Some("criterion"));
        assert_eq!(loss("net.body", "net.body."), None);
        assert_eq!(loss("net.features.loss", "net."), None);
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
            ("features.1.count", ""),
            ("count", "state_dict."),
            ("rows.indices", "state_dict."),
            ("step_size_acc1", ""),
            ("best_acc1", ""),
            ("features.0.0.step_acc1", ""),
            ("top_scale_acc1", "model."),
            ("avg_weight_acc1", "model."),
            ("test_scale", ""),
            ("test_scale", "model."),
            ("loss_scale.weight", "model."),
            ("metric_fc.weight", "model."),
            ("state_dict.class_weights", "state_dict.model."),
            ("amplitude", "model."),
            ("optimizer.weight", ""),
            ("scheduled.weight", "model."),
            ("state_dict.random.weight", "state_dict.model."),
            ("hub.weight", "model."),
        ] {
            let error = checked(&[name], prefix, &["a."]).unwrap_err().to_string();
            assert!(error.contains(&format!("tensor '{name}'")), "{error}");
        }
    }
}
