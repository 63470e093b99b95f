//! What the classes of modules compute, by their names.

use mbvc_compiler::spec::Activation;
use mbvc_runtime::HeadActivation;

use super::dict::StateDict;

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
            _ if path.starts_with("torchmetrics") => Self::Training,
            // Modules of other packages named so may be layers, such as classifiers with a margin.
            _ if (path.starts_with("loss") || path.contains(".loss")) && (is_known || is_loss(name)) => Self::Training,
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
        let module = dict.modules.get(name)?;
        let class = module.class.as_deref()?;
        let below = if name.is_empty() { String::new() } else { format!("{name}.") };
        let mut children = dict.modules.range(below.clone()..).take_while(|(child, _)| child.starts_with(&below));
        let has_children = children.any(|(child, module)| child != name && module.class.is_some());
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

/// Whether the name of a class is that of a loss.
fn is_loss(class: &str) -> bool {
    let words = ["Loss", "CrossEntropy", "LabelSmooth", "Focal", "Dice", "BCE"];
    class.ends_with("loss") || words.iter().any(|word| class.contains(word))
}

/// Whether a class is of a package whose classes are known.
pub fn is_of_package(class: &str) -> bool {
    class.split('.').next().is_some_and(|package| PACKAGES.contains(&package))
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
        assert_eq!(Kind::of_class("mine.losses.FocalLoss", false), Kind::Training);
        for class in
            ["mine.losses.LabelSmoothingCrossEntropy", "losses.Dice", "mine.loss.BCE", "mine.loss.FocalWithLogits"]
        {
            assert_eq!(Kind::of_class(class, false), Kind::Training, "{class}");
        }
        assert_eq!(Kind::of_class("mine.losses.ArcMarginProduct", false), Kind::Other);
        assert_eq!(Kind::of_class("mine.Dice", false), Kind::Other);
        assert_eq!(Kind::of_class("torch.nn.modules.loss.CrossEntropyLoss", false), Kind::Training);
    }
}
