//! Classes of modules, in files that contain modules: which activation, pools and other operations the network has.
//!
//! The code of a module is not executed, so the order of operations is that of the implementation that the names identify.

use std::collections::BTreeSet;

use mbvc_compiler::spec::Activation;
use mbvc_runtime::HeadActivation;

use super::account;
use super::dict::{Module, StateDict};
use super::head::{Content, Leaf};
use super::layers::Layers;
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// What the class of a module computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A convolution, dense layer or normalization, which is read with its tensors.
    Layer,
    Activation(Activation),
    Scores(HeadActivation),
    /// An average over the image, or over windows of this size.
    Pool(Option<[usize; 2]>),
    /// No effect at inference.
    Transparent,
    /// Not part of the network: a loss or a metric.
    Training,
    /// Calls other modules.
    Container,
    /// An operation that MobileNetV2 does not have.
    Other,
}

pub const SEQUENTIAL: &str = "torch.nn.modules.container.Sequential";

/// Packages whose classes and functions are known by their names.
const PACKAGES: [&str; 9] =
    ["torch", "torchvision", "timm", "transformers", "mmpretrain", "mmcls", "mmcv", "mmengine", "torchmetrics"];

impl Kind {
    fn of_class(class: &str, has_children: bool) -> Self {
        let (path, name) = class.rsplit_once('.').unwrap_or(("", class));
        let is_known = is_of_package(class);
        match name {
            _ if path.contains(".loss") || path.starts_with("torchmetrics") => Self::Training,
            "Conv2d" | "Conv2dSame" | "Linear" | "BatchNorm2d" | "BatchNorm1d" | "SyncBatchNorm" | "BatchNormAct2d"
                if is_known =>
            {
                Self::Layer
            }
            "ReLU6" if is_known => Self::Activation(Activation::Relu6),
            "ReLU" if is_known => Self::Activation(Activation::Relu),
            "Softmax" if is_known => Self::Scores(HeadActivation::Softmax),
            "LogSoftmax" if is_known => Self::Scores(HeadActivation::LogSoftmax),
            "Sigmoid" if is_known => Self::Scores(HeadActivation::Sigmoid),
            "AdaptiveAvgPool2d" | "SelectAdaptivePool2d" | "FastAdaptiveAvgPool" | "FastAdaptiveAvgPool2d"
                if is_known =>
            {
                Self::Pool(None)
            }
            "Dropout" | "Dropout2d" | "AlphaDropout" | "Identity" | "Flatten" | "DropPath" | "StochasticDepth"
            | "FloatFunctional" | "QuantStub" | "DeQuantStub"
                if is_known =>
            {
                Self::Transparent
            }
            _ if has_children => Self::Container,
            _ => Self::Other,
        }
    }

    /// Returns the kind of the module with this name, if the file records its class.
    pub fn of(dict: &StateDict<'_>, name: &str) -> Option<Self> {
        let class = dict.modules.get(name)?.class.as_deref()?;
        let below = if name.is_empty() { String::new() } else { format!("{name}.") };
        let mut children = dict.modules.range(below.clone()..).take_while(|(child, _)| child.starts_with(&below));
        let has_children = children.any(|(child, module)| child != name && module.class.is_some());
        let module = dict.modules.get(name)?;
        Some(match (Self::of_class(class, has_children), class) {
            (Self::Other, "torch.nn.modules.activation.Hardtanh") if module.bounds == [Some(0.0), Some(6.0)] => {
                Self::Activation(Activation::Relu6)
            }
            (Self::Other, "torch.nn.modules.pooling.AvgPool2d")
                if module.padding == Some([0; 2]) && !module.has_divisor =>
            {
                module.window.map_or(Self::Other, |window| Self::Pool(Some(window)))
            }
            (kind, _) => kind,
        })
    }
}

fn is_of_package(class: &str) -> bool {
    class.split('.').next().is_some_and(|package| PACKAGES.contains(&package))
}

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
        if copies.iter().any(|copy| name.starts_with(copy)) || account::is_of_training(name) {
            continue;
        }
        reader
            .module(name, module, class)
            .map_err(|error| error.at(format!("module '{}' ({})", shorten(name), shorten(class))))?;
    }
    reader.finish()
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
        let Some(kind) = Kind::of(self.dict, name) else { return Ok(()) };
        if let Some(hook) = module.hook.as_ref().filter(|_| kind != Kind::Training) {
            return Err(ImportError::unsupported("the module has forward hooks")
                .expected("no hooks but those of weight normalization and pruning")
                .found(shorten(hook))
                .help("remove them and save the model again"));
        }
        if matches!(kind, Kind::Activation(_)) {
            self.found.activations.insert(name.to_owned());
        }
        match kind {
            // `head` reads activations next to the classifier.
            Kind::Activation(_) if self.is_of_head(name) => {}
            Kind::Activation(activation) => self.activations.push((name, activation)),
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
            }
            Kind::Container if !is_of_package(class) => self.foreign.push(class),
            Kind::Pool(window) => self.pools.push((name, window)),
            Kind::Transparent | Kind::Training | Kind::Container => {}
        }
        Ok(())
    }

    /// Adds an activation of the logits. It follows the dense layers in their `Sequential`, or is in a module that contains them.
    fn scores(&mut self, name: &str, activation: HeadActivation) -> Result<()> {
        let classifier = self.layers.dense.last().map_or("", String::as_str);
        let contains = |module: &str| {
            module.is_empty() || classifier.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
        };
        let parent = name.rsplit_once('.').map_or("", |(parent, _)| parent);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_other_packages_are_not_known_by_their_names() {
        assert_eq!(Kind::of_class("torch.nn.modules.linear.Linear", false), Kind::Layer);
        assert_eq!(Kind::of_class("__main__.Linear", false), Kind::Other);
        assert_eq!(Kind::of_class("mine.layers.ReLU6", false), Kind::Other);
        assert_eq!(Kind::of_class("__main__.Net", true), Kind::Container);
        assert_eq!(Kind::of_class("torch.nn.modules.loss.CrossEntropyLoss", false), Kind::Training);
    }
}
