//! Classes of modules, in files that contain modules: which activation, pools and other operations the network has.
//!
//! The code of a module is not executed, so the order of operations is that of the implementation that the names identify.

use std::collections::BTreeSet;

use mbvc_compiler::spec::Activation;
use mbvc_runtime::HeadActivation;

use super::account;
use super::dict::{EXPORT, Module, RESIDUALS, StateDict};
use super::head::{Content, Leaf, container};
use super::kind::{Kind, SEQUENTIAL, is_of_package};
use super::layers::{Layers, Named};
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// What the classes of a file determine.
#[derive(Debug, Default)]
pub struct Found {
    /// The activation of all convolutions, if the file contains modules.
    pub activation: Option<Activation>,
    /// Names of all modules that are an activation.
    pub activations: BTreeSet<String>,
    /// Activations of the head, by name.
    pub scores: Vec<(String, HeadActivation)>,
    /// The window of the average pool, if a module records it.
    pub window: Option<[usize; 2]>,
    pub notes: Vec<String>,
}

/// Reads the classes of all modules.
///
/// # Errors
/// If a module computes something that MobileNetV2 does not have, or convolutions have different activations.
pub fn read(dict: &StateDict<'_>, layers: &Layers, leaves: &[Leaf]) -> Result<Found> {
    let (found, activations, pools, foreign) = (Found::default(), Vec::new(), Vec::new(), Vec::new());
    let mut reader = Reader { dict, layers, leaves, found, activations, pools, foreign };
    let copies = layers.copies.iter().map(|copy| account::differing(&layers.prefix, copy)[1]);
    let copies: Vec<&str> = copies.filter(|copy| !copy.is_empty()).collect();
    for (name, module) in &dict.modules {
        let Some(class) = module.class.as_deref() else { continue };
        let is_loss = account::loss(name, &layers.prefix).is_some_and(|loss| !reader.is_executed(loss));
        if is_loss || copies.iter().any(|copy| name.starts_with(copy)) {
            continue;
        }
        reader
            .module(name, module, class)
            .map_err(|error| error.at(format!("module '{}' ({})", shorten(name), shorten(class))))?;
    }
    reader.finish()
}

/// Checks the limits that a ReLU6 records.
fn limits(module: &Module, activation: Activation) -> Result<()> {
    const EXPECTED: [f64; 2] = [0.0, 6.0];
    if activation != Activation::Relu6 {
        return Ok(());
    }
    let [low, high] = [0, 1].map(|at| module.bounds[at].unwrap_or(EXPECTED[at]));
    if [low, high] == EXPECTED {
        return Ok(());
    }
    Err(ImportError::unsupported("unexpected ReLU6 limits")
        .expected("0 and 6")
        .found(format!("{low} and {high}"))
        .help(EXPORT))
}

/// Whether the class is known, and is not a wrapper that uses functions in training.
fn has_known_code(class: &str) -> bool {
    is_of_package(class) && !["torch.optim.", "torchmetrics."].iter().any(|package| class.starts_with(package))
}

/// Whether a module contains another.
fn is_inside(name: &str, module: &str) -> bool {
    module.is_empty() || name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

/// The number of modules that contain both.
fn common(one: &str, other: &str) -> usize {
    one.split('.').zip(other.split('.')).take_while(|(one, other)| one == other).count()
}

struct Reader<'d, 'a> {
    dict: &'d StateDict<'a>,
    layers: &'d Layers,
    /// Modules after the body.
    leaves: &'d [Leaf],
    found: Found,
    /// Activations outside of the head, with their modules.
    activations: Vec<(&'d str, Activation)>,
    /// Average pools, with their windows.
    pools: Vec<(&'d str, Option<[usize; 2]>)>,
    /// Containers of other packages, whose code the file does not contain.
    foreign: Vec<&'d str>,
}

impl<'d> Reader<'d, '_> {
    fn module(&mut self, name: &'d str, module: &'d Module, class: &'d str) -> Result<()> {
        let Some(kind) = self.kind(name, class) else { return Ok(()) };
        if let Some(hook) = module.hook.as_ref().filter(|_| kind != Kind::Training) {
            return Err(ImportError::unsupported("the module has forward hooks")
                .expected("no hooks but those of weight normalization and pruning")
                .found(shorten(hook))
                .help("remove them and save the model again"));
        }
        if let Some(method) = module.own_method.as_ref().filter(|_| kind != Kind::Training) {
            return Err(ImportError::unsupported(format!("the instance overrides the method `{method}`"))
                .expected("the method of its class")
                .help(format!("remove it (`del module.{method}`) and save the model again, or {EXPORT}")));
        }
        // The code of other classes is unknown, and a note reports that.
        if let Some(function) = module.own_function.as_ref().filter(|_| kind != Kind::Training && has_known_code(class))
        {
            return Err(ImportError::unsupported(format!("the attribute `{function}` is a function"))
                .expected("no function attributes in a module of a known class")
                .help(format!("remove it if the module does not use it (`del module.{function}`), or {EXPORT}")));
        }
        self.attributes(name, module, kind)?;
        self.order(name, module)?;
        if matches!(kind, Kind::Activation(_)) {
            self.found.activations.insert(name.to_owned());
        }
        match kind {
            // `head` reads activations next to the classifier.
            Kind::Activation(activation) => {
                limits(module, activation)?;
                if !self.is_of_head(name) {
                    self.activations.push((name, activation));
                }
            }
            Kind::Scores(activation) => {
                if let Some(dim) = module.dim.filter(|dim| !matches!(dim, 1 | -1)) {
                    return Err(ImportError::unsupported("the softmax is not over the classes")
                        .expected("dim 1 or -1")
                        .found(dim.to_string()));
                }
                self.scores(name, activation)?;
            }
            Kind::Other => {
                return Err(ImportError::unsupported("the module is not part of MobileNetV2")
                    .expected("convolutions with ReLU or ReLU6, batch normalizations, an average pool, a dense layer")
                    .help("if it does not take part in inference, remove it and save the model again"));
            }
            Kind::Layer => {
                if let Some(dilation) = module.dilation.filter(|dilation| *dilation != [1; 2]) {
                    return Err(ImportError::unsupported("unsupported dilation")
                        .expected("1")
                        .found(format!("{dilation:?}")));
                }
                if let Some(mode) = module.padding_mode.as_deref().filter(|mode| *mode != "zeros") {
                    return Err(ImportError::unsupported("unexpected padding mode")
                        .expected("zeros")
                        .found(shorten(mode)));
                }
                self.layer(name, module, class)?;
            }
            Kind::Container if !is_of_package(class) => self.foreign.push(class),
            Kind::Pool(window) => {
                self.pool(name, module)?;
                self.pools.push((name, window));
            }
            Kind::Transparent | Kind::Training | Kind::Container => {}
        }
        Ok(())
    }

    /// Returns the kind of a module. A loss that is executed as a part of the network is another module.
    fn kind(&self, name: &str, class: &str) -> Option<Kind> {
        let kind = Kind::of(self.dict, name)?;
        if kind != Kind::Training {
            return Some(kind);
        }
        let mut layers = self.parts().filter(|layer| is_inside(layer, name) || *layer == name);
        Some(match layers.next() {
            Some(layer) if layer != name => Kind::Container,
            Some(_) => Kind::Other,
            None if !is_of_package(class) && self.is_executed(name) => Kind::Other,
            None => Kind::Training,
        })
    }

    /// Whether the network executes a module: it contains a layer, or is in a `Sequential` or a block.
    fn is_executed(&self, name: &str) -> bool {
        let is_in_sequential = || {
            let parent = self.dict.modules.get(container(name)).filter(|_| !name.is_empty());
            parent.and_then(|parent| parent.class.as_deref()) == Some(SEQUENTIAL)
        };
        self.parts().any(|layer| layer == name || is_inside(layer, name))
            || self.is_of_head(name)
            || is_in_sequential()
            || self.layers.blocks.iter().any(|block| is_inside(name, &block.module))
    }

    /// The convolutions, normalizations and dense layers.
    fn parts(&self) -> impl Iterator<Item = &str> {
        let layers = self.normalized().flat_map(|layer| [layer.conv.as_str(), layer.norm.as_str()]);
        layers.chain(self.layers.dense.iter().map(String::as_str))
    }

    /// Checks that the attributes which the network depends on are of expected types.
    fn attributes(&self, name: &str, module: &Module, kind: Kind) -> Result<()> {
        let is_block = || self.layers.blocks.iter().any(|block| block.module == name);
        let is_needed = |attribute: &&String| match kind {
            Kind::Layer => ["stride", "padding", "dilation", "padding_mode", "eps"].contains(&attribute.as_str()),
            Kind::Activation(_) => ["min_val", "max_val"].contains(&attribute.as_str()),
            Kind::Pool(_) => ["output_size", "kernel_size", "padding"].contains(&attribute.as_str()),
            Kind::Scores(_) => *attribute == "dim",
            // These are an activation or a pool only with certain values.
            Kind::Other => module.class.as_deref().is_some_and(|class| {
                is_of_package(class) && [".Hardtanh", ".AvgPool2d"].iter().any(|name| class.ends_with(name))
            }),
            Kind::Container => RESIDUALS.contains(&attribute.as_str()) && is_block(),
            Kind::Transparent | Kind::Training => false,
        };
        let Some((attribute, found)) = module.unread.iter().find(|(attribute, _)| is_needed(attribute)) else {
            return Ok(());
        };
        let (expected, value) = match attribute.as_str() {
            "eps" | "min_val" | "max_val" => ("a Python float", format!("float(module.{attribute})")),
            "dim" => ("a Python int", "int(module.dim)".to_owned()),
            "padding_mode" if found == "None" => ("a string", "\"zeros\"".to_owned()),
            "padding_mode" => ("a string", "str(module.padding_mode)".to_owned()),
            "stride" | "padding" | "dilation" | "kernel_size" | "output_size" if found.starts_with("a list of ") => {
                ("a pair of Python ints", format!("tuple(map(int, module.{attribute}))"))
            }
            "stride" | "padding" | "dilation" | "kernel_size" | "output_size" => {
                ("a Python int", format!("int(module.{attribute})"))
            }
            _ => ("True or False", format!("bool(module.{attribute})")),
        };
        Err(ImportError::unsupported(format!("unexpected type of the attribute `{attribute}`"))
            .expected(expected)
            .found(found.clone())
            .help(format!("set it to a plain value, `module.{attribute} = {value}`, and save the model again")))
    }

    /// Checks a layer: a normalization has statistics, and a 1x1 convolution used as a dense layer has stride 1 and
    /// no padding.
    fn layer(&self, name: &str, module: &Module, class: &str) -> Result<()> {
        let has = |kind: &str| self.dict.tensors.contains_key(&format!("{name}.{kind}"));
        if class.rsplit('.').next().is_some_and(|class| class.contains("BatchNorm"))
            && !(has("running_mean") && has("running_var"))
        {
            return Err(ImportError::unsupported("the batch normalization has no running statistics")
                .expected("the mean and variance of the training data")
                .found("those of each batch (`track_running_stats=False`)")
                .help("train the model with `track_running_stats=True`"));
        }
        if self.layers.dense.iter().any(|dense| dense == name) {
            let moved = [("stride", module.stride, [1; 2]), ("padding", module.padding, [0; 2])];
            for (attribute, found, expected) in moved {
                if let Some(found) = found.filter(|found| *found != expected) {
                    return Err(ImportError::unsupported(format!("unexpected {attribute} of the classifier"))
                        .expected(format!("{expected:?}"))
                        .found(format!("{found:?}"))
                        .help(EXPORT));
                }
            }
        }
        Ok(())
    }

    /// Checks that the modules of a part of the body are executed in the order of their numbers.
    fn order(&self, name: &str, module: &Module) -> Result<()> {
        let numbers = module.children.iter().filter_map(|child| child.parse::<usize>().ok());
        if numbers.is_sorted() || !self.body().any(|layer| is_inside(layer, name)) {
            return Ok(());
        }
        Err(ImportError::unsupported("the modules are not in the order of their numbers")
            .expected("ascending numbers")
            .found(module.children.iter().take(8).map(|child| shorten(child)).collect::<Vec<_>>().join(", ")))
    }

    /// Checks that an average pool is of the whole image, and between the body and the classifier.
    fn pool(&self, name: &str, module: &Module) -> Result<()> {
        if let Some(output) = module.output.filter(|output| *output != [1; 2]) {
            return Err(ImportError::unsupported("the average pool is not of the whole image")
                .expected("output size 1")
                .found(match output {
                    [0, 0] => "another size".to_owned(),
                    [height, width] => format!("{height}x{width}"),
                }));
        }
        let unexpected = || {
            ImportError::unsupported("unexpected average pool")
                .expected("one average pool between the last convolution and the classifier")
        };
        let head = &self.layers.head;
        let shared = common(name, &head.conv);
        // Within a part of the body, such as a block.
        if self.body().any(|layer| common(name, layer) > shared) {
            return Err(unexpected());
        }
        let parent = name.split('.').take(shared).collect::<Vec<_>>().join(".");
        let Some(container) = self.dict.modules.get(&parent).filter(|module| !module.children.is_empty()) else {
            return Ok(());
        };
        if container.class.as_deref() != Some(SEQUENTIAL) {
            return Ok(());
        }
        let place = |name: &str| {
            let child = name.split('.').nth(shared)?;
            container.children.iter().position(|other| other == child)
        };
        let is_after = |layer: &str| place(layer) < place(name);
        let activations = self.dict.modules.keys().filter(|other| {
            self::container(other) == parent
                && matches!(Kind::of(self.dict, other), Some(Kind::Activation(_)))
                && !self.is_of_head(other)
        });
        let mut layers = self.body().chain([head.norm.as_str()]).chain(activations.map(String::as_str));
        let of_parent = |layer: &&str| common(layer, name) == shared;
        match layers.by_ref().filter(of_parent).all(is_after) {
            true => Ok(()),
            false => Err(unexpected()),
        }
    }

    /// The convolutions of the body.
    fn body(&self) -> impl Iterator<Item = &str> {
        self.normalized().map(|layer| layer.conv.as_str())
    }

    /// The convolutions of the body with their normalizations.
    fn normalized(&self) -> impl Iterator<Item = &Named> {
        let blocks = self.layers.blocks.iter().flat_map(|block| &block.layers);
        [&self.layers.stem].into_iter().chain(blocks).chain([&self.layers.head])
    }

    /// Adds an activation of the logits. It follows the dense layers in their `Sequential`, or is in a module that contains them.
    fn scores(&mut self, name: &str, activation: HeadActivation) -> Result<()> {
        let classifier = self.layers.dense.last().map_or("", String::as_str);
        let contains = |module: &str| is_inside(classifier, module);
        let parent = container(name);
        let place = |name: &str| self.leaves.iter().position(|leaf| leaf.name == name);
        let last = self.leaves.iter().rposition(|leaf| leaf.content == Content::Dense);
        let container = self.dict.modules.get(parent);
        let class = container.and_then(|module| module.class.as_deref()).unwrap_or_default();
        let follows = match (place(name), container) {
            (Some(place), _) => Some(place) > last,
            (None, Some(container)) if class == SEQUENTIAL => {
                let children = || {
                    container.children.iter().map(|child| match parent {
                        "" => child.clone(),
                        parent => format!("{parent}.{child}"),
                    })
                };
                let network = children().position(|child| classifier == child || contains(&child));
                network.is_some() && children().position(|child| child == name) > network
            }
            // The code of a known class does not run modules that were added to it.
            _ => !is_of_package(class) && (contains(parent) || contains(name)),
        };
        if !follows {
            return Err(ImportError::unsupported(format!("unexpected {activation}")).expected("after the classifier"));
        }
        self.found.scores.push((name.to_owned(), activation));
        Ok(())
    }

    fn is_of_head(&self, name: &str) -> bool {
        self.leaves.iter().any(|leaf| leaf.name == name)
    }

    fn finish(mut self) -> Result<Found> {
        let first = self.activations.first().copied();
        if let Some((other, known)) = first
            && let Some((name, activation)) = self.activations.iter().find(|(_, activation)| *activation != known)
        {
            return Err(ImportError::unsupported("the convolutions have different activations")
                .at(format!("module '{}'", shorten(name)))
                .expected(format!("{known}, as in module '{}'", shorten(other)))
                .found(activation.word()));
        }
        if let Some((name, window)) = self.pools.iter().find(|(_, window)| window.is_some()) {
            if let Some((other, _)) = self.pools.iter().find(|(other, _)| other != name) {
                return Err(ImportError::unsupported("the network has several average pools")
                    .role("head.pool")
                    .found(format!("'{}' and '{}'", shorten(name), shorten(other))));
            }
            self.found.window = *window;
        }
        self.found.activation = first.map(|(_, activation)| activation);
        self.foreign.sort_unstable();
        self.foreign.dedup();
        if let Some(class) = self.foreign.first() {
            let more = match self.foreign.len() {
                1 => String::new(),
                count => format!(" and {} more classes", count - 1),
            };
            self.found.notes.push(format!(
                "the file does not contain the code of {}{more}: the operations of {} are assumed; compare with `mbvc verify`",
                shorten(class),
                self.layers.family.name
            ));
        }
        Ok(self.found)
    }
}
