//! Implementations of MobileNetV2 in PyTorch: names of layers and conventions.
//!
//! Names are module names. `#` matches a number, and numbers determine the order.

use mbvc_compiler::spec::{Activation, Padding, Preprocessing};
use mbvc_runtime::{Filter, Fit, Framing};

use crate::published::{IMAGENET_MEAN, IMAGENET_STD};

/// Names of a convolution and its normalization.
pub type Names = [&'static str; 2];

/// Name pattern of blocks.
#[derive(Debug)]
pub struct Unit {
    /// Prefix of the layers of a block.
    pub name: &'static str,
    /// Whether blocks have a residual if shapes allow it.
    pub has_residuals: bool,
}

impl Unit {
    const fn new(name: &'static str) -> Self {
        Self { name, has_residuals: true }
    }
}

/// An implementation.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub stem: Names,
    /// Blocks, in order.
    pub units: &'static [Unit],
    /// Layers of a block in order: expansion (optional), depthwise, projection.
    pub blocks: &'static [&'static [Names]],
    /// Alternative names of the head.
    pub heads: &'static [Names],
    pub padding: Padding,
    pub epsilon: f64,
    pub activation: Activation,
    /// Preprocessing, as mean and standard deviation of pixels from 0 to 1.
    pub mean_and_std: [[f64; 3]; 2],
    /// Filter that resizes the shorter side of a picture to 256, before the crop to 224.
    pub filter: Filter,
    pub sidecars: Sidecars,
}

/// Framework of the configuration files that accompany the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sidecars {
    None,
    Timm,
    Transformers,
}

impl Family {
    pub fn preprocessing(&self) -> Preprocessing {
        let [mean, std] = self.mean_and_std;
        Preprocessing::from_mean_and_std(mean, std)
    }

    pub fn framing(&self) -> Framing {
        Framing { fit: Fit::Crop { scaled: 256, kept: 224 }, filter: self.filter }
    }
}

const IMAGENET: [[f64; 3]; 2] = [IMAGENET_MEAN, IMAGENET_STD];

/// Blocks of torchvision.
const TORCHVISION: &[&[Names]] = &[
    &[["0.0", "0.1"], ["1.0", "1.1"], ["2", "3"]],
    &[["0.0", "0.1"], ["1", "2"]],
    // Its predecessors (tonylins/pytorch-mobilenet-v2, d-li14/mobilenetv2.pytorch) have a flat block.
    &[["0", "1"], ["3", "4"], ["6", "7"]],
    &[["0", "1"], ["3", "4"]],
];

pub const FAMILIES: [Family; 6] = [
    Family {
        name: "torchvision",
        stem: ["features.0.0", "features.0.1"],
        units: &[Unit::new("features.#.conv")],
        blocks: TORCHVISION,
        heads: &[["features.#.0", "features.#.1"], ["conv.0", "conv.1"]],
        padding: Padding::Symmetric,
        epsilon: 1e-5,
        activation: Activation::Relu6,
        mean_and_std: IMAGENET,
        filter: Filter::Bilinear,
        sidecars: Sidecars::None,
    },
    Family {
        // torchvision's `features` under another module name, such as `backbone` or a number.
        name: "torchvision",
        stem: ["0.0", "0.1"],
        units: &[Unit::new("#.conv")],
        blocks: TORCHVISION,
        heads: &[["#.0", "#.1"]],
        padding: Padding::Symmetric,
        epsilon: 1e-5,
        activation: Activation::Relu6,
        mean_and_std: IMAGENET,
        filter: Filter::Bilinear,
        sidecars: Sidecars::None,
    },
    Family {
        name: "timm",
        stem: ["conv_stem", "bn1"],
        units: &[Unit::new("blocks.#.#")],
        blocks: &[
            &[["conv_pw", "bn1"], ["conv_dw", "bn2"], ["conv_pwl", "bn3"]],
            &[["conv_dw", "bn1"], ["conv_pw", "bn2"]],
        ],
        heads: &[["conv_head", "bn2"]],
        padding: Padding::Symmetric,
        epsilon: 1e-5,
        activation: Activation::Relu6,
        mean_and_std: IMAGENET,
        filter: Filter::Bicubic,
        sidecars: Sidecars::Timm,
    },
    Family {
        name: "transformers",
        stem: ["conv_stem.first_conv.convolution", "conv_stem.first_conv.normalization"],
        units: &[Unit { name: "conv_stem", has_residuals: false }, Unit::new("layer.#")],
        blocks: &[
            &[
                ["expand_1x1.convolution", "expand_1x1.normalization"],
                ["conv_3x3.convolution", "conv_3x3.normalization"],
                ["reduce_1x1.convolution", "reduce_1x1.normalization"],
            ],
            &[
                ["conv_3x3.convolution", "conv_3x3.normalization"],
                ["reduce_1x1.convolution", "reduce_1x1.normalization"],
            ],
        ],
        heads: &[["conv_1x1.convolution", "conv_1x1.normalization"]],
        padding: Padding::Same,
        epsilon: 1e-3,
        activation: Activation::Relu6,
        mean_and_std: [[0.5; 3]; 2],
        filter: Filter::Bilinear,
        sidecars: Sidecars::Transformers,
    },
    Family {
        name: "mmpretrain",
        stem: ["conv1.conv", "conv1.bn"],
        units: &[Unit::new("layer#.#.conv")],
        blocks: &[
            &[["0.conv", "0.bn"], ["1.conv", "1.bn"], ["2.conv", "2.bn"]],
            &[["0.conv", "0.bn"], ["1.conv", "1.bn"]],
        ],
        heads: &[["conv2.conv", "conv2.bn"]],
        padding: Padding::Symmetric,
        epsilon: 1e-5,
        activation: Activation::Relu6,
        mean_and_std: IMAGENET,
        filter: Filter::Bilinear,
        sidecars: Sidecars::None,
    },
    Family {
        // Its expansions and residuals differ from the family's; its names are listed for a specific error.
        name: "kuangliu/pytorch-cifar",
        stem: ["conv1", "bn1"],
        units: &[Unit::new("layers.#")],
        blocks: &[&[["conv1", "bn1"], ["conv2", "bn2"], ["conv3", "bn3"]]],
        heads: &[["conv2", "bn2"]],
        padding: Padding::Symmetric,
        epsilon: 1e-5,
        activation: Activation::Relu,
        mean_and_std: [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]],
        filter: Filter::Bilinear,
        sidecars: Sidecars::None,
    },
];

/// Matches `name` with `pattern`; returns the numbers at `#`.
pub fn matches(pattern: &str, name: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut pieces = pattern.split('#');
    let mut rest = name.strip_prefix(pieces.next()?)?;
    for piece in pieces {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        numbers.push(number.parse().ok()?);
        rest = after.strip_prefix(piece)?;
    }
    rest.is_empty().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_extracted_from_names() {
        assert_eq!(matches("features.#.conv", "features.12.conv"), Some(vec![12]));
        assert_eq!(matches("layer#.#.conv", "layer3.10.conv"), Some(vec![3, 10]));
        assert_eq!(matches("conv_stem", "conv_stem"), Some(vec![]));
        for name in
            ["features.conv", "features..conv", "features.x.conv", "features.1.conv.0", "features.99999999999.conv"]
        {
            assert_eq!(matches("features.#.conv", name), None, "{name}");
        }
    }
}
