//! Classes of modules, in files that contain modules: which activation, pools and other operations the network has.
//!
//! The code of a module is not executed, so the order of operations is that of the implementation that the names identify.

use mbvc_compiler::spec::{Activation, Padding};
use mbvc_runtime::HeadActivation;

use super::dict::{Call, StateDict};
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

impl Kind {
    fn of_class(class: &str, has_children: bool) -> Self {
        let (path, name) = class.rsplit_once('.').unwrap_or(("", class));
        match name {
            "Conv2d" | "Conv2dSame" | "Linear" | "BatchNorm2d" | "BatchNorm1d" | "SyncBatchNorm" | "BatchNormAct2d" => {
                Self::Layer
            }
            "ReLU6" => Self::Activation(Activation::Relu6),
            "ReLU" => Self::Activation(Activation::Relu),
            "Softmax" => Self::Scores(HeadActivation::Softmax),
            "LogSoftmax" => Self::Scores(HeadActivation::LogSoftmax),
            "Sigmoid" => Self::Scores(HeadActivation::Sigmoid),
            "AdaptiveAvgPool2d" | "SelectAdaptivePool2d" | "FastAdaptiveAvgPool" | "FastAdaptiveAvgPool2d" => {
                Self::Pool
            }
            "Dropout" | "Dropout2d" | "AlphaDropout" | "Identity" | "Flatten" | "DropPath" | "StochasticDepth"
            | "FloatFunctional" | "QuantStub" | "DeQuantStub" => Self::Transparent,
            _ if path.contains(".loss") || path.starts_with("torchmetrics") => Self::Training,
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

/// What the classes of a file determine.
#[derive(Debug, Default)]
pub struct Found {
    /// The activation of all convolutions, if the file contains modules.
    pub activation: Option<Activation>,
    /// Activations of the head, by name.
    pub scores: Vec<(String, HeadActivation)>,
}

/// Reads the classes of all modules, and the code of those that call others. `classifier` is the name of the dense
/// layer, `padding` the convention of the implementation.
///
/// # Errors
/// If a module computes something that MobileNetV2 does not have, or convolutions have different activations.
pub fn read(dict: &StateDict<'_>, classifier: &str, padding: Padding) -> Result<Found> {
    let head = classifier.rsplit_once('.').map_or("", |(parent, _)| parent);
    let is_of_head = |name: &str| name.rsplit_once('.').is_some_and(|(parent, _)| parent == head && !head.is_empty());
    let mut found = Found::default();
    let mut activations: Vec<(&str, Activation)> = Vec::new();
    for (name, module) in &dict.modules {
        let (Some(kind), Some(class)) = (Kind::of(dict, name), &module.class) else { continue };
        let wrong = |problem: &str| {
            ImportError::unsupported(problem).at(format!("module '{}'", shorten(name))).found(shorten(class))
        };
        match kind {
            // `head` reads activations next to the classifier.
            Kind::Activation(_) if is_of_head(name) => {}
            Kind::Activation(activation) => activations.push((name, activation)),
            Kind::Scores(activation) => found.scores.push((name.clone(), activation)),
            Kind::Container | Kind::Other if !module.calls.is_empty() => {
                for call in &module.calls {
                    match function(call, padding) {
                        Some(Kind::Activation(activation)) => activations.push((name, activation)),
                        Some(Kind::Scores(activation)) => found.scores.push((name.clone(), activation)),
                        Some(_) => {}
                        None => {
                            let call = format!("torch.{}({})", call.function, call.arguments.join(", "));
                            return Err(wrong("the code calls a function that is not part of MobileNetV2")
                                .expected("convolutions with ReLU or ReLU6, additions, an average over the image")
                                .found(shorten(&call)));
                        }
                    }
                }
            }
            Kind::Other => {
                return Err(wrong("the module is not part of MobileNetV2")
                    .expected("convolutions with ReLU or ReLU6, batch normalizations, an average pool, a dense layer")
                    .help("if it does not take part in inference, remove it and save the model again"));
            }
            Kind::Layer => {
                if module.dilation.is_some_and(|dilation| dilation != [1; 2]) {
                    return Err(wrong("unsupported dilation").expected("1"));
                }
                if let Some(mode) = module.padding_mode.as_deref().filter(|mode| *mode != "zeros") {
                    return Err(wrong("unexpected padding mode").expected("zeros").found(shorten(mode)));
                }
            }
            Kind::Pool | Kind::Transparent | Kind::Training | Kind::Container => {}
        }
    }
    let first = activations.first();
    if let Some(((name, activation), (other, known))) =
        activations.iter().zip(first.into_iter().cycle()).find(|((_, found), (_, known))| found != known)
    {
        return Err(ImportError::unsupported("the convolutions have different activations")
            .at(format!("module '{}'", shorten(name)))
            .expected(format!("{known}, as in module '{}'", shorten(other)))
            .found(activation.word()));
    }
    found.activation = first.map(|(_, activation)| *activation);
    Ok(found)
}

/// Returns what a call in the code of a module computes; `None` if MobileNetV2 does not have it.
fn function(call: &Call, padding: Padding) -> Option<Kind> {
    let argument = |at: usize| call.arguments.get(at).map(String::as_str).unwrap_or_default();
    let over_classes = matches!(argument(1), "1" | "-1");
    Some(match call.function.as_str() {
        "relu" | "relu_" => Kind::Activation(Activation::Relu),
        "relu6" | "relu6_" => Kind::Activation(Activation::Relu6),
        "hardtanh" | "hardtanh_" if [argument(1), argument(2)] == ["0.", "6."] => Kind::Activation(Activation::Relu6),
        "softmax" if over_classes => Kind::Scores(HeadActivation::Softmax),
        "log_softmax" if over_classes => Kind::Scores(HeadActivation::LogSoftmax),
        "sigmoid" => Kind::Scores(HeadActivation::Sigmoid),
        "adaptive_avg_pool2d" if matches!(argument(1), "[1, 1]" | "1") => Kind::Pool,
        "mean" if matches!(argument(1), "[2, 3]" | "[3, 2]" | "[-1, -2]" | "[-2, -1]") => Kind::Pool,
        // The padding of `same` convolutions is a separate call.
        "pad" | "constant_pad_nd" if padding == Padding::Same => Kind::Transparent,
        "add" | "add_" | "flatten" | "dropout" | "dropout_" | "feature_dropout" | "view" | "reshape" | "squeeze"
        | "contiguous" | "size" | "len" | "dim" | "format" | "eq" | "ne" | "gt" | "ge" | "lt" | "le" => {
            Kind::Transparent
        }
        _ => return None,
    })
}
