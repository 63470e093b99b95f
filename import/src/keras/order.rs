//! The order of a nested network's weights in `.h5`. Keras assigns them in the order of the attribute `weight_names`: first
//! those that are trained, layer by layer, then the others. Their names are those of the layers when the network was built,
//! and layers can be renamed afterwards. The weights are read by name, so both must agree.

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

/// Kinds of weights, each of which is in the order of the layers.
#[derive(Clone, Copy)]
enum Kind {
    Trained,
    Frozen,
    Statistics,
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

/// Checks that the weights of network `network`, in the order of the file, are in the order of its layers.
///
/// # Errors
/// If they are not, because layers were renamed.
pub fn check(paths: &[Path], network: &Layer<'_>, layers: &[Layer<'_>]) -> Result<()> {
    let mut order = Order { weights: by_scope(paths), paths, next: [0; 3] };
    order.network(layers, is_trained(network))
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

struct Order<'p> {
    paths: &'p [Path],
    weights: HashMap<&'p str, Vec<usize>>,
    /// First possible position of the next weight of each [`Kind`].
    next: [usize; 3],
}

impl Order<'_> {
    /// Recursion is bounded by the JSON parser.
    fn network(&mut self, layers: &[Layer<'_>], trained: bool) -> Result<()> {
        for layer in layers {
            let trained = trained && is_trained(layer);
            match layer.members() {
                Some(entries) => {
                    let layers: Vec<_> = entries.iter().map(Layer::new).collect::<Result<_>>()?;
                    self.network(&layers, trained)?;
                }
                None => self.layer(layer, trained)?,
            }
        }
        Ok(())
    }

    fn layer(&mut self, layer: &Layer<'_>, trained: bool) -> Result<()> {
        let weights = self.weights.get(layer.name).map_or(&[][..], Vec::as_slice);
        let mut next = self.next;
        for &at in weights.iter().take(MAX_WEIGHTS) {
            let name = self.paths.get(at).map_or("", |path| path.name.as_str());
            let kind = match (TRAINED.contains(&name), STATISTICS.contains(&name)) {
                (true, _) if trained => Kind::Trained,
                (true, _) => Kind::Frozen,
                (_, true) => Kind::Statistics,
                // Such as the state of random numbers.
                _ => continue,
            };
            let Some(next) = next.get_mut(kind as usize) else { continue };
            if at < self.next[kind as usize] {
                return Err(ImportError::unsupported(format!(
                    "the weights of the layer '{}' are not in the order of the layers",
                    shorten(layer.name)
                ))
                .expected("the names that the layers had when the nested model was built")
                .found("weights of layers that were renamed, which Keras assigns by their order")
                .help("save the model as .keras"));
            }
            *next = (*next).max(at + 1);
        }
        self.next = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The result for a network with layers of these names, and the trained ones among them, for names of weights in order.
    fn checked(layers: &[(&str, bool)], names: &[&str]) -> Result<()> {
        let entry = |(name, trained): &(&str, bool)| json!({"class_name": "Dense", "config": {"name": name, "trainable": trained}});
        let entries: Vec<Json> = layers.iter().map(entry).collect();
        let network = json!({"class_name": "Functional", "config": {"name": "n", "layers": entries}});
        let layers: Vec<_> = entries.iter().map(|entry| Layer::new(entry).unwrap()).collect();
        let paths = names.iter().rev().map(|name| {
            let (scope, name) = name.split_once(':').unwrap().0.rsplit_once('/').unwrap();
            Path { scope: scope.into(), name: name.into(), key: 0 }
        });
        check(&sorted(paths.collect(), names)?, &Layer::new(&network).unwrap(), &layers)
    }

    #[test]
    fn renamed_layers_are_noticed() {
        let all = [("a", true), ("bn", true), ("b", true)];
        let names = ["a/kernel:0", "a/bias:0", "n/bn/gamma:0", "n/bn/beta:0", "b/kernel:0", "n/bn/moving_mean:0"];
        checked(&all, &names).unwrap();
        let error = checked(&[("b", true), ("bn", true), ("a", true)], &names).unwrap_err().to_string();
        assert!(error.contains("'bn' are not in the order") && error.contains("as .keras"), "{error}");
        assert!(checked(&[("a", true), ("b", true), ("bn", true)], &names).is_err());
    }

    #[test]
    fn frozen_layers_and_statistics_are_after_the_others() {
        let layers = [("a", false), ("b", true), ("c", false)];
        let names = ["b/kernel:0", "a/kernel:0", "a/StateVar:0", "c/kernel:0"];
        checked(&layers, &names).unwrap();
        assert!(checked(&[("c", false), ("b", true), ("a", false)], &names).is_err());
        assert!(checked(&layers.map(|(name, _)| (name, true)), &names).is_err());
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
