//! Names of tensors: the keys and attributes on the path to them, joined by dots.
//!
//! State dicts, checkpoints, whole modules and TorchScript archives result in the same names, with a prefix for the place
//! in the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::attributes;
use super::tensor::{Storages, is_array, rebuild};
use super::value::{Object, Pickled, Ref, Value};
use crate::error::{ImportError, Result};
use crate::state_dict::{EXPORT, Module, StateDict};
use crate::text::shorten;

/// Greatest depth and longest key of a layer. Deeper values belong to optimizers or loggers and are not visited.
const MAX_DEPTH: usize = 48;
const LONGEST_KEY: usize = 200;
/// Total bytes of all names.
const MAX_NAMES: usize = 1 << 25;
/// Most tensors, ten times those of a checkpoint with an optimizer and averaged weights.
const MAX_TENSORS: usize = 1 << 14;

/// Most entries of modules that are visited again, under other paths.
const MAX_REPEATED: usize = 1 << 16;

/// Attributes of a module that are not part of names in a state dict.
const UNNAMED: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// Suffixes of the names of tensors that a network may use.
const TENSORS: [&str; 4] = [".weight", ".bias", ".running_mean", ".running_var"];

/// How the content of a value is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Keys are names.
    Contents,
    /// The attributes of an object.
    Attributes,
    /// A list of pairs.
    Pairs,
}

struct Place {
    at: Ref,
    way: Way,
    path: String,
    depth: usize,
    part: Part,
}

/// What a value is for the module that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Part {
    /// Its values are modules.
    has_modules: bool,
    /// Its values are parameters or buffers.
    has_tensors: bool,
    /// It was visited before, under another path.
    is_repeated: bool,
}

struct Walk<'p, 'a, 's, 'v> {
    pickled: &'p Pickled<'v>,
    storages: Storages<'s, 'a>,
    found: StateDict<'a>,
    places: BTreeMap<String, Ref>,
    queue: VecDeque<Place>,
    entered: HashSet<(Ref, bool)>,
    /// Whether each dictionary that was checked contains the attributes of a module.
    modules: HashMap<Ref, bool>,
    /// Dictionaries of modules or hooks that were copied.
    copied: HashSet<Ref>,
    budget: usize,
    /// Remaining entries of modules that are visited again.
    repeats: usize,
    /// Number of tensors so far.
    tensors: usize,
}

/// Collects all tensors that are reachable from the root, and their places.
///
/// Each value is visited once, under its shortest path, so that the work is linear in the size of the file. A module that
/// several modules share is visited under each of its paths, up to [`MAX_REPEATED`] entries.
pub fn collect<'a>(
    pickled: &Pickled<'_>,
    storages: Storages<'_, 'a>,
) -> Result<(StateDict<'a>, BTreeMap<String, Ref>)> {
    let (queue, entered, modules, copied) = (VecDeque::new(), HashSet::new(), HashMap::new(), HashSet::new());
    let (found, places) = (StateDict::default(), BTreeMap::new());
    let (budget, repeats) = (MAX_NAMES, MAX_REPEATED);
    let mut walk =
        Walk { pickled, storages, found, places, queue, entered, modules, copied, budget, repeats, tensors: 0 };
    walk.child(pickled.root, String::new(), 0, 0, Part::default())?;
    while let Some(place) = walk.queue.pop_front() {
        walk.enter(&place)?;
    }
    Ok((walk.found, walk.places))
}

/// Returns the name of `key` in the value at `path`.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Walk<'_, '_, '_, '_> {
    fn enter(&mut self, place: &Place) -> Result<()> {
        let pickled = self.pickled;
        if place.part.is_repeated {
            let elements = pickled.elements(place.at).map_or(0, <[Ref]>::len);
            self.repeat(1 + elements + pickled.entries(place.at).len(), &place.path)?;
        }
        match (pickled.get(place.at), place.way) {
            (Value::Dict(entries), way) => self.entries(entries, place, way),
            (Value::Tuple(elements) | Value::List(elements), Way::Attributes) => {
                elements.iter().try_for_each(|&at| self.queue(at, Way::Attributes, place))
            }
            (Value::Tuple(elements) | Value::List(elements), Way::Pairs) => {
                let pairs: Vec<[Ref; 2]> =
                    elements.iter().filter_map(|&pair| pickled.elements(pair)?.try_into().ok()).collect();
                self.entries(&pairs, place, Way::Contents)
            }
            (Value::Tuple(elements) | Value::List(elements), Way::Contents) => {
                elements.iter().enumerate().try_for_each(|(number, &at)| self.named(at, place, &number.to_string()))
            }
            (Value::Object(object), way) => {
                self.is_readable(object)?;
                self.entries(&object.entries, place, way)?;
                for (number, &at) in object.elements.iter().enumerate() {
                    self.named(at, place, &number.to_string())?;
                }
                // Python 2 passes the pairs of an OrderedDict as an argument.
                if pickled.global(object.callable) == Some(("collections", "OrderedDict"))
                    && let Some(&pairs) = pickled.elements(object.arguments).and_then(<[Ref]>::first)
                {
                    self.queue(pairs, Way::Pairs, place)?;
                }
                match object.state {
                    Some(state) if self.is_module(state) => {
                        self.class(&place.path, object.callable);
                        self.queue(state, Way::Attributes, place)
                    }
                    Some(state) => self.queue(state, Way::Attributes, place),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Refuses an object that is a whole network in another form.
    fn is_readable(&self, object: &Object) -> Result<()> {
        match self.pickled.global(object.callable) {
            Some((module, name)) if module.starts_with("torch.fx.graph_module") => {
                Err(ImportError::unsupported("unsupported `torch.fx` graph")
                    .expected("a state dict, a module, or TorchScript")
                    .found(shorten(&format!("{module}.{name}")))
                    .help(EXPORT))
            }
            _ => Ok(()),
        }
    }

    fn entries(&mut self, entries: &[[Ref; 2]], place: &Place, way: Way) -> Result<()> {
        let mut has_tensor = None;
        for (number, &[key, at]) in entries.iter().enumerate() {
            let key = self.key(key, number).into_owned();
            if way == Way::Attributes {
                // Several modules may share the dictionary, which is copied for each of them.
                let is_copied = matches!(key.as_str(), "_modules" | "_forward_hooks" | "_forward_pre_hooks");
                if is_copied && !self.copied.insert(at) {
                    self.repeat(self.pickled.entries(at).len(), &place.path)?;
                }
                if key == "_modules" {
                    self.children(&place.path, at);
                }
                if UNNAMED.contains(&key.as_str()) {
                    self.members(at, place, key == "_modules")?;
                    continue;
                }
                if place.part.is_repeated {
                    self.repeat(self.pickled.entries(at).len(), &place.path)?;
                }
                self.attribute(&place.path, &key, at);
            }
            if way == Way::Contents && self.should_be_tensor(at, entries, place, &key, &mut has_tensor) {
                self.not_a_tensor(at, place, &key)?;
            }
            self.named(at, place, &key)?;
        }
        Ok(())
    }

    /// Whether an object with these attributes is a module.
    fn is_module(&mut self, attributes: Ref) -> bool {
        let pickled = self.pickled;
        let has_children = |[key, _]: &[Ref; 2]| pickled.text(*key) == Some("_modules");
        *self.modules.entry(attributes).or_insert_with(|| pickled.entries(attributes).iter().any(has_children))
    }

    fn children(&mut self, path: &str, modules: Ref) {
        let entries = self.pickled.entries(modules).iter().enumerate();
        let children = entries.map(|(number, [key, _])| self.key(*key, number).into_owned()).collect();
        let recorded = Module { children, ..Module::default() };
        self.found.modules.entry(path.to_owned()).or_default().learn(recorded);
    }

    fn class(&mut self, path: &str, class: Ref) {
        let Some((module, name)) = self.pickled.global(class) else { return };
        let recorded = Module { class: Some(format!("{module}.{name}")), ..Module::default() };
        self.found.modules.entry(path.to_owned()).or_default().learn(recorded);
    }

    /// Records an attribute that a network depends on.
    fn attribute(&mut self, path: &str, key: &str, at: Ref) {
        if let Some(recorded) = attributes::read(self.pickled, key, at) {
            self.found.modules.entry(path.to_owned()).or_default().learn(recorded);
        }
    }

    /// Records an error for an entry that should be a tensor and is not.
    fn not_a_tensor(&mut self, at: Ref, place: &Place, key: &str) -> Result<()> {
        let path = join(&place.path, key);
        self.spend(&path)?;
        self.count()?;
        let error = ImportError::unsupported("the entry is not a tensor")
            .expected("a PyTorch tensor")
            .found(attributes::described(self.pickled, at))
            .help("replace it with a tensor, `torch.as_tensor(value)`, and save the file again");
        self.found.tensors.entry(path).or_insert(Err(error));
        Ok(())
    }

    /// Whether one of `entries` should be a tensor and is not: a parameter or buffer, or an entry that is named as one and
    /// beside a tensor. `has_tensor` records whether one of `entries` is a tensor.
    fn should_be_tensor(
        &self,
        at: Ref,
        entries: &[[Ref; 2]],
        place: &Place,
        key: &str,
        has_tensor: &mut Option<bool>,
    ) -> bool {
        let is_tensor = |at: Ref| rebuild(self.pickled, at, self.storages).is_some();
        let is_size = || {
            let object = self.pickled.object(at);
            object.is_some_and(|object| self.pickled.global(object.callable) == Some(("torch", "Size")))
        };
        // In nested dictionaries, the key is without a dot.
        let is_name =
            |kind: &&str| key.ends_with(*kind) || !place.path.is_empty() && kind.strip_prefix('.') == Some(key);
        let is_named = || TENSORS.iter().any(is_name) && !place.part.has_modules && !is_size();
        if matches!(self.pickled.get(at), Value::None) || !(place.part.has_tensors || is_named()) || is_tensor(at) {
            return false;
        }
        let is_beside = |[_, at]: &[Ref; 2]| is_tensor(*at) && !is_array(self.pickled, *at);
        place.part.has_tensors || *has_tensor.get_or_insert_with(|| entries.iter().any(is_beside))
    }

    /// Returns the name of an entry. A key that is not a string, or too long for a layer, is described.
    fn key(&self, key: Ref, number: usize) -> Cow<'_, str> {
        let described = |kind: &str| Cow::Owned(format!("<{kind} as key of entry {number}>"));
        match self.pickled.get(key) {
            Value::Text(key) if key.len() <= LONGEST_KEY => Cow::Borrowed(key),
            Value::Text(key) => {
                Cow::Owned(key.chars().take(LONGEST_KEY / 4).chain(format!("… (entry {number})").chars()).collect())
            }
            Value::Int(key) => Cow::Owned(key.to_string()),
            Value::None => described("None"),
            Value::Tuple(_) => described("tuple"),
            Value::Bool(_) => described("bool"),
            Value::Float(_) => described("float"),
            Value::Bytes => described("bytes"),
            _ => described("object"),
        }
    }

    fn named(&mut self, at: Ref, place: &Place, key: &str) -> Result<()> {
        if place.depth >= MAX_DEPTH {
            return Ok(());
        }
        if !matches!(self.pickled.get(at), Value::Dict(_) | Value::Tuple(_) | Value::List(_) | Value::Object(_)) {
            return Ok(());
        }
        let path = join(&place.path, key);
        self.spend(&path)?;
        self.child(at, path, place.path.len(), place.depth + 1, place.part)
    }

    /// Adds a tensor, or queues a value that may contain tensors. `part` is that of the value that contains it, and `holder`
    /// the length of its path.
    fn child(&mut self, at: Ref, path: String, holder: usize, depth: usize, part: Part) -> Result<()> {
        if let Some(tensor) = rebuild(self.pickled, at, self.storages) {
            self.count()?;
            // The first of two values with one path is kept.
            if !self.found.tensors.contains_key(&path) {
                if is_array(self.pickled, at) {
                    self.found.arrays.insert(path.clone());
                }
                self.found.holders.insert(path.clone(), holder);
                self.places.insert(path.clone(), at);
                self.found.tensors.insert(path, tensor);
            }
            return Ok(());
        }
        let is_new = self.entered.insert((at, false));
        // Of what is shared, only modules are visited again.
        if is_new && !part.is_repeated || part.has_modules {
            let part = Part { is_repeated: part.is_repeated || !is_new, ..Part::default() };
            self.queue.push_back(Place { at, way: Way::Contents, path, depth, part });
        }
        Ok(())
    }

    /// Queues the parameters, buffers or modules of a module.
    fn members(&mut self, at: Ref, module: &Place, has_modules: bool) -> Result<()> {
        let depth = module.depth + 1;
        if depth <= MAX_DEPTH {
            self.spend(&module.path)?;
            let is_repeated = !self.entered.insert((at, false)) || module.part.is_repeated;
            let part = Part { has_modules, has_tensors: !has_modules, is_repeated };
            self.queue.push_back(Place { at, way: Way::Contents, path: module.path.clone(), depth, part });
        }
        Ok(())
    }

    /// Queues a part of the value at `place` that has the same name.
    fn queue(&mut self, at: Ref, way: Way, place: &Place) -> Result<()> {
        let depth = place.depth + 1;
        if depth <= MAX_DEPTH && (self.entered.insert((at, way != Way::Contents)) || place.part.is_repeated) {
            self.spend(&place.path)?;
            self.queue.push_back(Place { at, way, path: place.path.clone(), depth, part: place.part });
        }
        Ok(())
    }

    /// Counts a tensor, or an entry that should be one.
    fn count(&mut self) -> Result<()> {
        self.tensors += 1;
        if self.tensors > MAX_TENSORS {
            return Err(ImportError::unsupported(format!("the file has more than {MAX_TENSORS} tensors"))
                .help("save the state dict alone: `torch.save(model.state_dict(), FILE)`"));
        }
        Ok(())
    }

    /// Counts entries that are visited again.
    fn repeat(&mut self, entries: usize, path: &str) -> Result<()> {
        self.repeats = self.repeats.checked_sub(entries).ok_or_else(|| {
            ImportError::unsupported("modules share too many others")
                .at(format!("module '{}'", shorten(path)))
                .help("save the state dict alone: `torch.save(model.state_dict(), FILE)`")
        })?;
        Ok(())
    }

    fn spend(&mut self, name: &str) -> Result<()> {
        self.budget = self.budget.checked_sub(name.len() + 1).ok_or_else(|| {
            ImportError::unsupported(format!("the names in the file have more than {MAX_NAMES} bytes"))
                .help("save the state dict alone: `torch.save(model.state_dict(), FILE)`")
        })?;
        Ok(())
    }
}
