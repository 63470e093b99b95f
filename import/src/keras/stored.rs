//! The weights of layers in HDF5.
//!
//! ```text
//! .h5     model_weights/Conv1/Conv1/kernel:0           the layer, then the weight's name with all its scopes
//!         model_weights/backbone/Conv1/kernel:0        one group for a whole nested network
//! .keras  layers/conv2d_3/vars/0                       the class, its number within the class, the weight's number
//!         layers/functional/layers/conv2d/vars/0       a nested network
//! ```
//! In newer `.keras` files an attribute of `vars` contains the layer's name, which takes precedence.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::config::Layer;
use super::order;
use super::weights::{Path, Scope, Variables, Weights, of_layer};
use crate::error::{ImportError, Result};
use crate::hdf5::{Address, Dataset, File, Members};
use crate::source::{Constant, Fact, Values};
use crate::text::shorten;

/// Deepest nesting of groups, above the scopes of any weight's name.
const MAX_DEPTH: usize = 16;
/// Most datasets, above those of any MobileNetV2; bounds the work on a hostile file.
const MAX_PATHS: usize = 1 << 13;
const LONGEST_SCOPE: usize = 1 << 10;
/// Groups that contain the layers of a network, in current files and in those of Keras 2.12.
pub const CONTAINERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];

/// Groups with the state of the optimizer.
const OPTIMIZER: [&str; 2] = ["optimizer", "optimizer_weights"];

/// Organization of weights in HDF5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `model_weights/LAYER/.../kernel`, by name.
    Named,
    /// `LAYER/.../kernel`, by name, in a file without a configuration.
    NamedAtRoot,
    /// `layers/conv2d_3/vars/0`, by class and number.
    Numbered,
}

/// A file of weights.
pub struct Stored<'a> {
    file: File<'a>,
    order: Order,
    /// Groups that belong to no layer.
    unused: RefCell<BTreeSet<String>>,
}

impl<'a> Stored<'a> {
    pub fn open(bytes: &'a [u8], order: Order) -> Result<Self> {
        Ok(Self { file: File::open(bytes)?, order, unused: RefCell::default() })
    }

    /// Whether the outermost network has a layer with this name, if the file records names.
    pub fn knows(&self, layer: &str) -> Result<bool> {
        let members = self.file.members(&self.file.root()?)?;
        let Some(container) = CONTAINERS.iter().find_map(|name| members.get(*name)) else {
            return Ok(members.contains_key(layer));
        };
        for group in self.file.members(&self.file.object(*container)?)?.values() {
            if self.name_of(*group)? == Some(layer) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Numbers the layers of each class, as in Keras.
    fn numbered(&self, members: Members<'a>, layers: &[Layer<'a>]) -> Result<Scope<'a>> {
        let Some(container) = CONTAINERS.iter().find_map(|name| members.get(*name)) else {
            return Ok(Scope::Numbered(HashMap::new()));
        };
        let groups = self.file.members(&self.file.object(*container)?)?;
        let mut named = HashMap::new();
        for group in groups.values() {
            if let Some(name) = self.name_of(*group)? {
                named.insert(name, *group);
            }
        }
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut found = HashMap::new();
        for layer in layers {
            let class = snake_case(layer.class);
            let count = counts.entry(class.clone()).or_default();
            let numbered = if *count == 0 { class } else { format!("{class}_{count}") };
            *count += 1;
            if let Some(group) = named.get(layer.name).or_else(|| groups.get(numbered.as_str())) {
                found.insert(layer.name, *group);
            }
        }
        let used: BTreeSet<Address> = found.values().copied().collect();
        for (name, group) in groups.iter().filter(|(_, group)| !used.contains(*group)) {
            let recorded = self.name_of(*group)?;
            self.note_unused(recorded.unwrap_or(*name), *group)?;
        }
        Ok(Scope::Numbered(found))
    }

    /// Adds a group that belongs to no layer, unless it has no weights.
    fn note_unused(&self, name: &str, group: Address) -> Result<()> {
        let mut paths = Vec::new();
        if !self.file.object(group)?.is_dataset() {
            self.gather(group, String::new(), MAX_DEPTH, &mut paths)?;
            // The state of random layers is no weight.
            if paths.iter().all(|path| is_seed(&path.scope) || is_seed(&path.name)) {
                return Ok(());
            }
        }
        self.unused.borrow_mut().insert(name.to_owned());
        Ok(())
    }

    /// Returns the first group with weights that belongs to no layer, except the state of the optimizer.
    pub fn first_unused(&self) -> Option<String> {
        self.unused.borrow().iter().find(|name| !OPTIMIZER.contains(&name.as_str())).cloned()
    }

    /// Returns the number of tensors of the optimizer's state.
    fn optimizer_tensors(&self) -> Result<usize> {
        let members = self.file.members(&self.file.root()?)?;
        let mut paths = Vec::new();
        for group in OPTIMIZER.iter().filter_map(|name| members.get(*name)) {
            if !self.file.object(*group)?.is_dataset() {
                self.gather(*group, String::new(), MAX_DEPTH, &mut paths)?;
            }
        }
        Ok(paths.len())
    }

    /// Returns the recorded layer name of a group.
    fn name_of(&self, group: Address) -> Result<Option<&'a str>> {
        let members = self.file.members(&self.file.object(group)?)?;
        let Some(variables) = members.get("vars") else { return Ok(None) };
        self.file.string(&self.file.object(*variables)?, "name", LONGEST_SCOPE)
    }

    /// Returns all datasets in the group of layer `name`.
    fn paths(&self, scope: &Scope<'a>, name: &str) -> Result<Vec<Path>> {
        let mut paths = Vec::new();
        if let Scope::Groups(groups) = scope
            && let Some(group) = self.group(groups, name)?
        {
            self.gather(group, String::new(), MAX_DEPTH, &mut paths)?;
        }
        Ok(paths)
    }

    /// Returns all datasets in the group of a network, in their order.
    fn paths_of_network(&self, groups: &Members<'a>, network: &Layer<'a>, layers: &[Layer<'a>]) -> Result<Vec<Path>> {
        let Some(address) = self.group(groups, network.name)? else { return Ok(Vec::new()) };
        let mut paths = Vec::new();
        self.gather(address, String::new(), MAX_DEPTH, &mut paths)?;
        let names = self.file.strings(&self.file.object(address)?, "weight_names", MAX_PATHS, LONGEST_SCOPE)?;
        let version = self.file.string(&self.file.root()?, "keras_version", LONGEST_SCOPE)?.unwrap_or_default();
        let rules = if version.starts_with("3.") { order::Rules::Keras3 } else { order::Rules::Keras2 };
        let of_network = |error: Box<ImportError>| error.at(format!("layer '{}'", shorten(network.name)));
        let paths = order::sorted(paths, &names).map_err(of_network)?;
        order::check(&paths, network, layers, rules).map_err(of_network)?;
        Ok(paths)
    }

    /// Returns the group of layer `name`. A name with `/` denotes nested groups.
    fn group(&self, groups: &Members<'a>, name: &str) -> Result<Option<Address>> {
        if let Some(group) = groups.get(name) {
            return Ok(Some(*group));
        }
        let mut parts = name.split('/');
        let mut group = parts.next().and_then(|first| groups.get(first).copied());
        for part in parts {
            let Some(outer) = group else { return Ok(None) };
            group = self.file.members(&self.file.object(outer)?)?.get(part).copied();
        }
        Ok(group)
    }

    fn gather(&self, group: Address, scope: String, depth: usize, paths: &mut Vec<Path>) -> Result<()> {
        let deeper = depth
            .checked_sub(1)
            .filter(|_| scope.len() <= LONGEST_SCOPE && paths.len() <= MAX_PATHS)
            .ok_or_else(|| ImportError::malformed("the groups of the weights are too many or nested too deep"))?;
        for (name, address) in self.file.members(&self.file.object(group)?)? {
            if self.file.object(address)?.is_dataset() {
                let name = name.split(':').next().unwrap_or_default().to_owned();
                paths.push(Path { scope: scope.clone(), name, key: address });
            } else {
                let scope = if scope.is_empty() { name.to_owned() } else { format!("{scope}/{name}") };
                self.gather(address, scope, deeper, paths)?;
            }
        }
        Ok(())
    }

    fn numbers(&self, group: Address) -> Result<Variables> {
        let members = self.file.members(&self.file.object(group)?)?;
        let Some(variables) = members.get("vars") else { return Ok(Variables::Numbered(HashMap::new())) };
        let members = self.file.members(&self.file.object(*variables)?)?;
        let numbers = members.iter().filter_map(|(name, address)| Some((name.parse().ok()?, *address)));
        Ok(Variables::Numbered(numbers.collect()))
    }
}

impl<'a> Weights<'a> for Stored<'a> {
    fn ignored(&self) -> Result<Option<Fact>> {
        let (optimizer, unused) = (self.optimizer_tensors()?, self.unused.borrow());
        let mut how = Vec::new();
        if optimizer > 0 {
            how.push(format!("state of the optimizer: {optimizer}"));
        }
        if !unused.is_empty() {
            let names: Vec<_> = unused.iter().take(4).map(|name| shorten(name)).collect();
            how.push(format!("of no layer: {}", names.join(", ")));
        }
        let value = format!("{} tensors or groups", optimizer + unused.len());
        Ok((!how.is_empty()).then(|| Fact { key: "ignored", value, how: how.join("; ") }))
    }

    fn root(&self, layers: &[Layer<'a>]) -> Result<Scope<'a>> {
        let root = self.file.root()?;
        let mut members = self.file.members(&root)?;
        match self.order {
            Order::Numbered => return self.numbered(members, layers),
            Order::NamedAtRoot => {}
            Order::Named => {
                let address = members.get("model_weights").ok_or_else(|| {
                    ImportError::malformed("the file has a configuration but no weights")
                        .expected("a group `model_weights`")
                })?;
                members = self.file.members(&self.file.object(*address)?)?;
            }
        }
        // A name with `/` denotes nested groups.
        let first = |layer: &Layer<'a>| layer.name.split('/').next();
        let names: BTreeSet<&str> =
            layers.iter().flat_map(|layer| [Some(layer.name), first(layer)]).flatten().collect();
        for (name, group) in members.iter().filter(|(name, _)| !names.contains(*name)) {
            self.note_unused(name, *group)?;
        }
        Ok(Scope::Groups(members))
    }

    fn nested(&self, outer: &Scope<'a>, nested: &Layer<'a>, layers: &[Layer<'a>]) -> Result<Scope<'a>> {
        match outer {
            Scope::Groups(groups) => Ok(Scope::Paths(Rc::new(self.paths_of_network(groups, nested, layers)?))),
            Scope::Paths(paths) => Ok(Scope::Paths(paths.clone())),
            Scope::Numbered(groups) => match groups.get(nested.name) {
                Some(group) => self.numbered(self.file.members(&self.file.object(*group)?)?, layers),
                None => Ok(Scope::Numbered(HashMap::new())),
            },
        }
    }

    fn variables(&self, scope: &Scope<'a>, name: &str) -> Result<Variables> {
        match scope {
            Scope::Numbered(groups) => match groups.get(name) {
                Some(group) => self.numbers(*group),
                None => Ok(Variables::Numbered(HashMap::new())),
            },
            Scope::Groups(_) => of_layer(&self.paths(scope, name)?, None),
            Scope::Paths(paths) => of_layer(paths, Some(name)),
        }
    }

    fn constant(&self, address: Address) -> Result<Constant<'a>> {
        let Dataset { shape, dtype, bytes } = self.file.dataset(&self.file.object(address)?)?;
        Constant::new(shape, Values::Bytes(dtype, bytes))
    }

    fn charge(&self, bytes: usize) -> Result<()> {
        self.file.charge(bytes)
    }
}

/// Converts a class to its group name in Keras: `DepthwiseConv2D` -> `depthwise_conv2d`.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    let mut name = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && before.is_some_and(|before| after || before.is_ascii_lowercase()) {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Whether a scope or a name is of the random number generator of a layer, in Keras 3 or 2.
fn is_seed(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with("seed_generator") || part.starts_with("StateVar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results of `keras.src.utils.naming.to_snake_case`.
    #[test]
    fn class_names_match_keras() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("ReLU", "re_lu"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("ZeroPadding2D", "zero_padding2d"),
            ("TFOpLambda", "tf_op_lambda"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("Dense", "dense"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }
}
