//! The weights of a model's layers, in any kind of file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::config::Layer;
use crate::error::{ImportError, Result};
use crate::source::{Constant, Fact, Values};
use crate::text::shorten;

/// Place of a tensor in its file: an address or a number.
pub type Key = usize;

/// Location of the weights of one network's layers.
pub enum Scope<'a> {
    /// The group of each layer.
    Groups(BTreeMap<&'a str, Key>),
    /// Weights of a network's layers, by path.
    Paths(Rc<Vec<Path>>),
    /// The group of each layer, with numbered weights.
    Numbered(HashMap<&'a str, Key>),
}

/// A tensor and its path.
pub struct Path {
    /// Groups with `/` between them: the names of layers and scopes.
    pub scope: String,
    /// The last part, without TensorFlow's `:0`.
    pub name: String,
    pub key: Key,
}

/// The weights of one layer.
pub enum Variables {
    Named(Vec<(String, Key)>),
    Numbered(HashMap<usize, Key>),
}

impl Variables {
    /// Checks that a layer has no weights but these, which are in the order of their numbers.
    pub fn check_only(&self, names: &[&str]) -> Result<()> {
        let unused = match self {
            Self::Named(named) => {
                named.iter().map(|(name, _)| name.clone()).find(|name| !names.contains(&name.as_str()))
            }
            Self::Numbered(numbers) => {
                numbers.keys().copied().filter(|number| *number >= names.len()).min().map(|number| number.to_string())
            }
        };
        match unused {
            None => Ok(()),
            Some(unused) => {
                Err(ImportError::unsupported(format!("the layer has an unknown weight '{}'", shorten(&unused)))
                    .expected(if names.is_empty() { "no weights".into() } else { names.join(", ") }))
            }
        }
    }
}

/// A file with the weights of layers.
pub trait Weights<'a> {
    /// Returns a fact that lists the weights that inference does not need.
    fn ignored(&self) -> Result<Option<Fact>> {
        Ok(None)
    }

    /// Returns the scope of the outermost network, with these layers.
    fn root(&self, layers: &[Layer<'a>]) -> Result<Scope<'a>>;

    /// Returns the scope of network `nested`, a layer of the network of `outer`.
    fn nested(&self, outer: &Scope<'a>, nested: &Layer<'a>, layers: &[Layer<'a>]) -> Result<Scope<'a>>;

    /// Returns the weights of layer `name`.
    fn variables(&self, scope: &Scope<'a>, name: &str) -> Result<Variables>;

    fn constant(&self, key: Key) -> Result<Constant<'a>>;

    /// Counts bytes before they are allocated.
    fn charge(&self, bytes: usize) -> Result<()>;

    /// Returns a vector of `count` equal numbers.
    fn repeated(&self, value: f64, count: usize) -> Result<Rc<Constant<'a>>> {
        self.charge(count.saturating_mul(size_of::<f64>()))?;
        Constant::new(vec![count], Values::F64(Cow::Owned(vec![value; count]))).map(Rc::new)
    }

    /// Returns the weight with one of `names`, or with number `number` in its layer.
    fn find(&self, variables: &Variables, names: &[&str], number: usize) -> Result<Rc<Constant<'a>>> {
        let key = match variables {
            Variables::Named(named) => {
                named.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, key)| *key)
            }
            Variables::Numbered(numbers) => numbers.get(&number).copied(),
        };
        let name = names.first().copied().unwrap_or_default();
        let key = key.ok_or_else(|| {
            ImportError::malformed(format!("the layer's weight `{name}` is missing"))
                .help("build and train the model, then save it again")
        })?;
        self.constant(key).map(Rc::new).map_err(|error| match &error.place {
            Some(_) => error,
            None => {
                let problem = format!("weight `{name}`: {}", error.problem);
                let mut error = error;
                error.problem = problem;
                error
            }
        })
    }
}

/// Returns the weights of `layer`, the last group of their scopes; all weights if it is `None`.
///
/// # Errors
/// If two of them have the same name.
pub fn of_layer(paths: &[Path], layer: Option<&str>) -> Result<Variables> {
    let is_of = |path: &&Path| {
        layer.is_none_or(|layer| {
            let before = path.scope.strip_suffix(layer);
            before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        })
    };
    let found: Vec<_> = paths.iter().filter(is_of).map(|path| (path.name.clone(), path.key)).collect();
    let mut names: Vec<_> = found.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(ImportError::unsupported(format!("duplicate weight '{}' of the layer", shorten(twice)))
            .help("two networks of the model have layers of the same name: save the model as .keras"));
    }
    Ok(Variables::Named(found))
}
