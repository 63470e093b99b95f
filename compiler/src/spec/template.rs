//! The spec that `mbvc init` writes.

use super::Padding;

/// What a new spec can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Of the generated type.
    pub name: String,
    /// Width multiplier.
    pub width: f64,
    /// Height and width.
    pub resolution: [usize; 2],
    /// Length of the output, counting a background class if there is one.
    pub classes: usize,
    /// `Symmetric` brings PyTorch's other conventions along: epsilon, mean and standard deviation.
    pub padding: Padding,
}

impl Default for Template {
    /// MobileNetV2 1.0 at 224x224, as TensorFlow publishes it.
    fn default() -> Self {
        Self {
            name: "MobileNetV2".to_owned(),
            width: 1.0,
            resolution: [224, 224],
            classes: 1001,
            padding: Padding::Same,
        }
    }
}

/// A commented spec. It is not checked: `parse` tells what is wrong with the values asked for.
pub fn template(options: &Template) -> String {
    let Template { name, width, resolution: [height, width_in_pixels], classes, padding } = options;
    let resolution =
        if height == width_in_pixels { height.to_string() } else { format!("[{height}, {width_in_pixels}]") };
    let (epsilon, preprocessing) = match padding {
        Padding::Same => ("0.001", "{ range: [-1, 1] }"),
        Padding::Symmetric => ("0.00001", "{ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }"),
    };
    let padding = padding.word();
    format!(
        "\
# A network of the MobileNetV2 family (Sandler et al. 2018, arXiv:1801.04381).
# Only resolution, classes, stem, blocks and head are required; the other values are shown with
# what they usually are. `mbvc check` tells every mistake of this file at once.

name: {name}  # of the Rust type that the macro defines

# What goes in and what comes out.
width: {width:?}  # multiplies every channel count below; published: 0.35, 0.5, 0.75, 1.0, 1.4
resolution: {resolution}  # pixels, one number or [height, width]; any from 1 to 4096
classes: {classes}  # 1001: ImageNet and a background class first (TensorFlow); 1000: without (Keras, PyTorch)
preprocessing: {preprocessing}  # of the pixels: a range, or mean and std of pixels from 0 to 1
  # as TensorFlow: {{ range: [-1, 1] }}
  # as PyTorch:    {{ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }}

# Conventions of the framework that trained the weights. Weights with others are refused.
padding: {padding}  # same: TensorFlow, Keras; symmetric: PyTorch
activation: relu6  # relu6 or relu
batch_norm_epsilon: {epsilon}  # 0.001: TensorFlow, Keras; 0.00001: PyTorch

# The table, before the width multiplier: table 2 of the paper.
stem: {{ channels: 32, stride: 2 }}
blocks:
  # t: expansion, c: output channels, n: how often, s: stride of the first (1 or 2)
  - {{ t: 1, c: 16, n: 1, s: 1 }}
  - {{ t: 6, c: 24, n: 2, s: 2 }}
  - {{ t: 6, c: 32, n: 3, s: 2 }}
  - {{ t: 6, c: 64, n: 4, s: 2 }}
  - {{ t: 6, c: 96, n: 3, s: 1 }}
  - {{ t: 6, c: 160, n: 3, s: 2 }}
  - {{ t: 6, c: 320, n: 1, s: 1 }}
  # A row may also say `residual: false` (never) or `residual: true` (an error where it is
  # impossible). Without it, a block has one where stride is 1 and the channels agree.
head: {{ channels: 1280 }}  # scaled by widths above 1 only

# The code that is generated. None of it changes which weights fit.
precision: f32  # or int8, uint8: of weights that were quantized
numerics: fast  # or strict: the same bits on every machine, instruction set and fusion level
# rounding: xnnpack  # of int8 and uint8: as LiteRT computes; or tflite-reference
fusion: block  # streamed inverted residuals; relu6: fused epilogues; none: layer by layer; deep: less scratch (int8)
isa: all  # what to generate kernels for, or a list such as [avx2, portable]; the machine's best is taken
threads: 1  # cores that share the work of one call
batch: 1  # images that share one pass over the classifier's weights, in run_batch
scratch_budget: none  # or a limit on the working memory, such as 1.3 MB: an error if it is exceeded
"
    )
}
