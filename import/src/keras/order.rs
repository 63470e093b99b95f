//! The order of a nested network's weights in `.h5`. Keras assigns them in the order of the attribute `weight_names`: first
//! those that are trained, layer by layer, then the others (`trainable_weights` and `non_trainable_weights` of a model). The
//! names are those of the layers when the network was built, and layers can be renamed afterwards. The weights are read by
//! name, so both must agree.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::config::Layer;
use super::weights::Path;
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Weights that are trained if their layer is.
const TRAINED: [&str; 5] = ["kernel", "depthwise_kernel", "bias", "gamma", "beta"];
/// Weights that are never trained.
const STATISTICS: [&str; 5] = ["moving_mean", "moving_variance", "mean", "variance", "count"];
/// Most weights of one layer, above those of any supported one.
const MAX_WEIGHTS: usize = 64;

/// Where a weight is trained, in the rules of each version of Keras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// A weight is trained if its layer and all networks around it are.
    Keras2,
    /// A weight is trained if its layer and the outermost network are.
    Keras3,
}

/// A weight: the name of its layer and its position in the file.
type Weight<'l> = (&'l str, usize);

/// The weights of a layer or a network in the order of Keras.
#[derive(Default)]
struct Weights<'l> {
    trained: Vec<Weight<'l>>,
    others: Vec<Weight<'l>>,
}

/// Sorts `paths` by the position of their names in `names`.
///
/// # Errors
/// If the two differ.
pub fn sorted(mut paths: Vec<Path>, names: &[&str]) -> Result<Vec<Path>> {
    let without_index = |name: &&str| name.split(':').next().unwrap_or_default().to_owned();
    let places: HashMap<String, usize> =
        names.iter().map(without_index).enumerate().map(|(at, name)| (name, at)).collect();
    let place = |path: &Path| match path.scope.as_str() {
        "" => places.get(&path.name).copied(),
        scope => places.get(&format!("{scope}/{}", path.name)).copied(),
    };
    if places.len() != paths.len() || paths.iter().any(|path| place(path).is_none()) {
        return Err(ImportError::malformed("the attribute `weight_names` does not list the weights of the group")
            .expected(format!("{} names", paths.len()))
            .found(format!("{} names, or others", places.len()))
            .help("save the model with Keras itself"));
    }
    paths.sort_by_cached_key(place);
    Ok(paths)
}

/// Checks that the weights of network `network`, in the order of the file, are in that of Keras.
///
/// # Errors
/// If they are not, because layers were renamed.
pub fn check(paths: &[Path], network: &Layer<'_>, layers: &[Layer<'_>], rules: Rules) -> Result<()> {
    let file = InFile { weights: by_scope(paths), paths, rules };
    let order: Vec<_> = match rules {
        Rules::Keras3 if !is_trained(network) => file.all(layers)?,
        _ => {
            let Weights { trained, others } = file.network(network, layers)?;
            trained.into_iter().chain(others).collect()
        }
    };
    match order.iter().zip(order.iter().skip(1)).find(|((_, at), (_, next))| at >= next) {
        None => Ok(()),
        Some(((layer, _), (other, _))) => Err(ImportError::unsupported(format!(
            "the weights of the layers '{}' and '{}' are in another order than the layers",
            shorten(layer),
            shorten(other)
        ))
        .expected("the order in which Keras saves them")
        .found("another order, as after layers were renamed")
        .help("save the model as .keras: `model.save(\"model.keras\")`")),
    }
}

/// Returns the positions of the weights of each scope, under all its endings, since outer scopes may precede the layer's name.
fn by_scope(paths: &[Path]) -> HashMap<&str, Vec<usize>> {
    let mut weights: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, path) in paths.iter().enumerate() {
        let inner = path.scope.match_indices('/').filter_map(|(slash, _)| path.scope.get(slash + 1..));
        for scope in [path.scope.as_str()].into_iter().chain(inner) {
            weights.entry(scope).or_default().push(at);
        }
    }
    weights
}

fn is_trained(layer: &Layer<'_>) -> bool {
    layer.config.get("trainable") != Some(&Json::Bool(false))
}

struct InFile<'p> {
    paths: &'p [Path],
    weights: HashMap<&'p str, Vec<usize>>,
    rules: Rules,
}

impl InFile<'_> {
    /// Returns the weights of a network. Recursion is bounded by the JSON parser.
    fn network<'l>(&self, network: &Layer<'l>, layers: &[Layer<'l>]) -> Result<Weights<'l>> {
        let mut all = Weights::default();
        for layer in layers {
            let found = match inner(layer)? {
                Some(layers) => self.network(layer, &layers)?,
                None => self.layer(layer),
            };
            all.trained.extend(found.trained);
            all.others.extend(found.others);
        }
        if self.rules == Rules::Keras2 && !is_trained(network) {
            let others = std::mem::take(&mut all.others);
            all = Weights { trained: Vec::new(), others: all.trained.into_iter().chain(others).collect() };
        }
        Ok(all)
    }

    /// Returns all weights of a network, layer by layer.
    fn all<'l>(&self, layers: &[Layer<'l>]) -> Result<Vec<Weight<'l>>> {
        let mut all = Vec::new();
        for layer in layers {
            match inner(layer)? {
                Some(layers) => all.extend(self.all(&layers)?),
                None => {
                    let Weights { trained, others } = self.layer(layer);
                    all.extend(trained.into_iter().chain(others));
                }
            }
        }
        Ok(all)
    }

    fn layer<'l>(&self, layer: &Layer<'l>) -> Weights<'l> {
        let places = self.weights.get(layer.name).map_or(&[][..], Vec::as_slice);
        let of = |names: &[&str]| -> Vec<Weight<'l>> {
            let is_named = |at: &&usize| self.paths.get(**at).is_some_and(|path| names.contains(&path.name.as_str()));
            places.iter().take(MAX_WEIGHTS).filter(is_named).map(|at| (layer.name, *at)).collect()
        };
        let (trained, others) = (of(&TRAINED), of(&STATISTICS));
        match is_trained(layer) {
            true => Weights { trained, others },
            false => Weights { trained: Vec::new(), others: trained.into_iter().chain(others).collect() },
        }
    }
}

/// Returns the layers of a network; `None` for a layer that is not one.
fn inner<'l>(layer: &Layer<'l>) -> Result<Option<Vec<Layer<'l>>>> {
    layer.members().map(|entries| entries.iter().map(Layer::new).collect()).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The result for a network with layers of these names, and whether they are trained, for names of weights in order.
    fn checked(trained: bool, layers: &[(&str, bool)], names: &[&str], rules: Rules) -> Result<()> {
        let entry = |(name, trained): &(&str, bool)| json!({"class_name": "Dense", "config": {"name": name, "trainable": trained}});
        let entries: Vec<Json> = layers.iter().map(entry).collect();
        let network =
            json!({"class_name": "Functional", "config": {"name": "n", "layers": entries, "trainable": trained}});
        let layers: Vec<_> = entries.iter().map(|entry| Layer::new(entry).unwrap()).collect();
        let paths = names.iter().rev().map(|name| {
            let (scope, name) = name.split_once(':').unwrap().0.rsplit_once('/').unwrap();
            Path { scope: scope.into(), name: name.into(), key: 0 }
        });
        check(&sorted(paths.collect(), names)?, &Layer::new(&network).unwrap(), &layers, rules)
    }

    #[test]
    fn renamed_layers_are_noticed() {
        let names = ["a/kernel:0", "a/bias:0", "n/bn/gamma:0", "n/bn/beta:0", "b/kernel:0", "n/bn/moving_mean:0"];
        for rules in [Rules::Keras2, Rules::Keras3] {
            checked(true, &[("a", true), ("bn", true), ("b", true)], &names, rules).unwrap();
            let renamed = checked(true, &[("b", true), ("bn", true), ("a", true)], &names, rules);
            let error = renamed.unwrap_err().to_string();
            assert!(error.contains("'b' and 'bn' are in another order") && error.contains("as .keras"), "{error}");
            assert!(checked(true, &[("a", true), ("b", true), ("bn", true)], &names, rules).is_err());
        }
    }

    #[test]
    fn frozen_layers_and_statistics_are_after_the_others() {
        let layers = [("a", false), ("b", true), ("c", false)];
        let names = ["b/kernel:0", "a/kernel:0", "a/StateVar:0", "c/kernel:0"];
        for rules in [Rules::Keras2, Rules::Keras3] {
            checked(true, &layers, &names, rules).unwrap();
            assert!(checked(true, &[("c", false), ("b", true), ("a", false)], &names, rules).is_err());
            // A trained and a frozen layer.
            assert!(checked(true, &[("b", false), ("a", true), ("c", false)], &names, rules).is_err());
            assert!(checked(true, &layers.map(|(name, _)| (name, true)), &names, rules).is_err());
        }
        // In a frozen network, the versions differ.
        checked(false, &layers, &names, Rules::Keras2).unwrap();
        assert!(checked(false, &layers, &names, Rules::Keras3).is_err());
        checked(false, &layers, &["a/kernel:0", "b/kernel:0", "c/kernel:0"], Rules::Keras3).unwrap();
    }

    #[test]
    fn all_weights_are_listed() {
        let path = |name: &str| Path { scope: "a".into(), name: name.into(), key: 0 };
        assert!(sorted(vec![path("kernel")], &["a/kernel:0"]).is_ok());
        for names in [&["a/kernel:0", "a/bias:0"][..], &["b/kernel:0"], &[]] {
            let error = sorted(vec![path("kernel")], names).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("`weight_names`"), "{error}");
        }
    }
}
