//! Classes of modules, in files that contain modules: which activation, pools and other operations the network has.
//!
//! The code of a module is not executed, so the order of operations is that of the implementation that the names identify.

use std::collections::BTreeSet;

use mbvc_compiler::spec::{Activation, Padding};
use mbvc_runtime::HeadActivation;

use super::account;
use super::dict::{Call, Module, StateDict};
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
    /// An average over the image.
    Pool,
    /// No effect at inference.
    Transparent,
    /// Not part of the network: a loss or a metric.
    Training,
    /// Calls other modules.
    Container,
    /// An operation that MobileNetV2 does not have.
    Other,
}

/// Packages whose classes and functions are known by their names.
const PACKAGES: [&str; 9] =
    ["torch", "torchvision", "timm", "transformers", "mmpretrain", "mmcls", "mmcv", "mmengine", "torchmetrics"];

impl Kind {
    fn of_class(class: &str, has_children: bool) -> Self {
        let class = class.strip_prefix("__torch__.").unwrap_or(class);
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
                Self::Pool
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
        Some(Self::of_class(class, has_children))
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
    /// Whether container code calls the activation as a function, without a module.
    pub is_called: bool,
    /// Names of all modules that are an activation.
    pub activations: BTreeSet<String>,
    /// Activations of the head, by name.
    pub scores: Vec<(String, HeadActivation)>,
    pub notes: Vec<String>,
}

/// Reads the classes of all modules, and the code of those that call others.
///
/// # Errors
/// If a module computes something that MobileNetV2 does not have, or convolutions have different activations.
pub fn read(dict: &StateDict<'_>, layers: &Layers) -> Result<Found> {
    let mut reader = Reader { dict, layers, found: Found::default(), activations: Vec::new(), foreign: Vec::new() };
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
    found: Found,
    /// Activations outside of the head, with their modules.
    activations: Vec<(&'d str, Activation)>,
    /// Containers of other packages, whose code the file does not contain.
    foreign: Vec<&'d str>,
}

impl<'d> Reader<'d, '_> {
    fn module(&mut self, name: &'d str, module: &'d Module, class: &'d str) -> Result<()> {
        let Some(kind) = Kind::of(self.dict, name) else { return Ok(()) };
        if module.has_hooks && kind != Kind::Training {
            return Err(
                ImportError::unsupported("the module has forward hooks").help("remove them and save the model again")
            );
        }
        if module.trains {
            return Err(ImportError::unsupported("the module was traced or scripted in training mode")
                .help("call `model.eval()` before `torch.jit.trace` or `torch.jit.script`"));
        }
        if matches!(kind, Kind::Activation(_)) {
            self.found.activations.insert(name.to_owned());
        }
        match kind {
            // `head` reads activations next to the classifier.
            Kind::Activation(_) if self.is_of_head(name) => {}
            Kind::Activation(activation) => self.activations.push((name, activation)),
            Kind::Scores(activation) => {
                let called = module.calls.iter().filter(|call| call.function.ends_with("softmax"));
                let called = called.map(|call| call.arguments.get(1).map(String::as_str).unwrap_or_default());
                let is_over_classes = |dim: &str| matches!(dim, "1" | "-1");
                let recorded = module.dim.map(|dim| dim.to_string());
                if let Some(dim) = recorded.as_deref().into_iter().chain(called).find(|dim| !is_over_classes(dim)) {
                    return Err(ImportError::unsupported("the softmax is not over the classes")
                        .expected("dim 1 or -1")
                        .found(shorten(dim)));
                }
                self.scores(name, activation)?;
            }
            Kind::Container | Kind::Other if !module.calls.is_empty() => {
                for call in module.calls.iter() {
                    self.call(name, call)?;
                }
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
            Kind::Container if !is_of_package(class) && !class.starts_with("__torch__.") => self.foreign.push(class),
            Kind::Pool | Kind::Transparent | Kind::Training | Kind::Container => {}
        }
        Ok(())
    }

    fn call(&mut self, name: &'d str, call: &Call) -> Result<()> {
        match function(call, self.layers.family.padding) {
            Some(Kind::Activation(activation)) => {
                self.found.is_called = true;
                self.activations.push((name, activation));
            }
            Some(Kind::Scores(activation)) => self.scores(name, activation)?,
            Some(_) => {}
            None => {
                let call = format!("{}({})", call.function, call.arguments.join(", "));
                return Err(ImportError::unsupported("the code calls a function that is not part of MobileNetV2")
                    .expected("convolutions with ReLU or ReLU6, additions, an average over the image")
                    .found(shorten(&call))
                    .help(
                        "export the model to ONNX: `torch.onnx.export(model, image, \"model.onnx\", dynamo=False)`",
                    ));
            }
        }
        Ok(())
    }

    /// Adds an activation of the logits. It follows the dense layers in their `Sequential`, or belongs to a module that
    /// contains the network.
    fn scores(&mut self, name: &str, activation: HeadActivation) -> Result<()> {
        let classifier = self.layers.dense.last().map_or("", String::as_str);
        let contains = |module: &str| {
            module.is_empty() || classifier.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
        };
        let (parent, number) = name.rsplit_once('.').unwrap_or(("", name));
        let (head, last) = classifier.rsplit_once('.').unwrap_or(("", classifier));
        let follows = match (number.parse::<usize>(), last.parse::<usize>()) {
            (Ok(number), Ok(last)) if parent == head => number > last,
            _ => contains(parent) || contains(name),
        };
        if !follows {
            return Err(ImportError::unsupported(format!("unexpected {activation}")).expected("after the classifier"));
        }
        self.found.scores.push((name.to_owned(), activation));
        Ok(())
    }

    fn is_of_head(&self, name: &str) -> bool {
        let head = self.layers.dense.last().and_then(|name| name.rsplit_once('.')).map(|(parent, _)| parent);
        name.rsplit_once('.').is_some_and(|(parent, _)| Some(parent) == head)
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

/// Returns what a call in the code of a module computes; `None` if MobileNetV2 does not have it.
fn function(call: &Call, padding: Padding) -> Option<Kind> {
    let argument = |at: usize| call.arguments.get(at).map(String::as_str).unwrap_or_default();
    let over_classes = matches!(argument(1), "1" | "-1");
    let name = call.function.strip_prefix("torch.nn.functional.").or(call.function.strip_prefix("torch."));
    Some(match name.unwrap_or(&call.function) {
        "relu" | "relu_" => Kind::Activation(Activation::Relu),
        "relu6" | "relu6_" => Kind::Activation(Activation::Relu6),
        "hardtanh" | "hardtanh_" if [argument(1), argument(2)] == ["0.", "6."] => Kind::Activation(Activation::Relu6),
        "softmax" if over_classes => Kind::Scores(HeadActivation::Softmax),
        "log_softmax" if over_classes => Kind::Scores(HeadActivation::LogSoftmax),
        "sigmoid" => Kind::Scores(HeadActivation::Sigmoid),
        "adaptive_avg_pool2d" if matches!(argument(1), "[1, 1]" | "1") => Kind::Pool,
        // A mean in two steps reduces the columns first.
        "mean" if matches!(argument(1), "[2, 3]" | "[3, 2]" | "[-1, -2]" | "[-2, -1]" | "[3]" | "[2]") => Kind::Pool,
        // The padding of `same` convolutions is a separate call.
        "pad" | "constant_pad_nd" if padding == Padding::Same => Kind::Transparent,
        // A residual: the sum of two different values.
        "add" | "add_" if is_sum(call) => Kind::Transparent,
        "dropout" | "dropout_" | "feature_dropout" if argument(2) != "True" => Kind::Transparent,
        "flatten"
        | "view"
        | "reshape"
        | "squeeze"
        | "contiguous"
        | "size"
        | "len"
        | "dim"
        | "format"
        | "eq"
        | "ne"
        | "gt"
        | "ge"
        | "lt"
        | "le"
        | "ops.prim.RaiseException" => Kind::Transparent,
        _ => return None,
    })
}

/// Whether a call adds two different values, neither of which is a constant, without a factor.
fn is_sum(call: &Call) -> bool {
    let is_constant = |text: &String| text.parse::<f64>().is_ok() || text.starts_with("CONSTANTS.");
    match &*call.arguments {
        [one, other] => one != other && !is_constant(one) && !is_constant(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_other_packages_are_not_known_by_their_names() {
        assert_eq!(Kind::of_class("torch.nn.modules.linear.Linear", false), Kind::Layer);
        assert_eq!(Kind::of_class("__torch__.torch.nn.modules.conv.___torch_mangle_3.Conv2d", false), Kind::Layer);
        assert_eq!(Kind::of_class("__main__.Linear", false), Kind::Other);
        assert_eq!(Kind::of_class("mine.layers.ReLU6", false), Kind::Other);
        assert_eq!(Kind::of_class("__main__.Net", true), Kind::Container);
        assert_eq!(Kind::of_class("torch.nn.modules.loss.CrossEntropyLoss", false), Kind::Training);
    }

    #[test]
    fn additions_are_residuals() {
        let call = |function: &str, arguments: &[&str]| {
            let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
            function_of(&Call { function: function.to_owned(), arguments })
        };
        assert_eq!(call("torch.add", &["x", "(conv).forward(x, )"]), Some(Kind::Transparent));
        for arguments in [&["x", "0.5"][..], &["y", "y"], &["a", "b", "alpha=2"], &["x", "CONSTANTS.c0"]] {
            assert_eq!(call("torch.add", arguments), None, "{arguments:?}");
        }
        assert_eq!(call("torch.softmax", &["x", "0"]), None);
        assert_eq!(call("ops.mine.f", &["x"]), None);
        assert_eq!(call("mine.relu", &["x"]), None);
    }

    fn function_of(call: &Call) -> Option<Kind> {
        function(call, Padding::Symmetric)
    }
}
