//! The spec that `mbvc init` writes.

use super::{Color, Padding};

/// Options of a new spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Name of the generated type.
    pub name: String,
    /// Width multiplier.
    pub width: f64,
    /// Height and width.
    pub resolution: [usize; 2],
    /// Colors of the pixels.
    pub input: Color,
    /// Number of classes, including a background class.
    pub classes: usize,
    /// `Symmetric` implies PyTorch's other conventions: epsilon, mean and standard deviation.
    pub padding: Padding,
}

impl Default for Template {
    /// MobileNetV2 1.0 at 224x224 with TensorFlow's conventions.
    fn default() -> Self {
        Self {
            name: "MobileNetV2".to_owned(),
            width: 1.0,
            resolution: [224, 224],
            input: Color::Rgb,
            classes: 1001,
            padding: Padding::Same,
        }
    }
}

/// A commented spec. The options are not checked; `parse` reports invalid values.
pub fn template(options: &Template) -> String {
    let Template { name, width, resolution: [height, width_in_pixels], input, classes, padding } = options;
    let resolution =
        if height == width_in_pixels { height.to_string() } else { format!("[{height}, {width_in_pixels}]") };
    let pytorch = match input {
        Color::Rgb => "{ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }",
        Color::Gray => "{ mean: 0.5, std: 0.5 }",
    };
    let (epsilon, preprocessing) = match padding {
        Padding::Same => ("0.001", "{ range: [-1, 1] }"),
        Padding::Symmetric => ("0.00001", pytorch),
    };
    let input = match input {
        Color::Rgb => "rgb  # or gray: one channel, computed from the colors of a picture",
        Color::Gray => "gray  # one channel, computed from the colors of a picture; or rgb",
    };
    let padding = padding.word();
    format!(
        "\
# A network of the MobileNetV2 family (Sandler et al. 2018, arXiv:1801.04381).
# Required keys: resolution, classes, stem, blocks and head. The other keys are optional, shown with
# common values. `mbvc check` reports all errors in this file.

name: {name}  # name of the Rust type that the macro defines

# Input and output.
width: {width:?}  # multiplies every channel count below; published: 0.35, 0.5, 0.75, 1.0, 1.4
resolution: {resolution}  # pixels, one number or [height, width]; any from 1 to 4096
input: {input}
classes: {classes}  # 1001: ImageNet with a background class first (TensorFlow); 1000: without (Keras, PyTorch)
preprocessing: {preprocessing}  # range of the input, or mean and std of pixels from 0 to 1
  # TensorFlow: {{ range: [-1, 1] }}
  # PyTorch:    {pytorch}

# Conventions of the framework that trained the weights. Weights with other conventions are rejected.
padding: {padding}  # same: TensorFlow, Keras; symmetric: PyTorch
activation: relu6  # relu6 or relu
batch_norm_epsilon: {epsilon}  # 0.001: TensorFlow, Keras; 0.00001: PyTorch

# Table 2 of the paper, before the width multiplier.
stem: {{ channels: 32, stride: 2 }}
blocks:
  # t: expansion, c: output channels, n: repeats, s: stride of the first repeat (1 or 2)
  - {{ t: 1, c: 16, n: 1, s: 1 }}
  - {{ t: 6, c: 24, n: 2, s: 2 }}
  - {{ t: 6, c: 32, n: 3, s: 2 }}
  - {{ t: 6, c: 64, n: 4, s: 2 }}
  - {{ t: 6, c: 96, n: 3, s: 1 }}
  - {{ t: 6, c: 160, n: 3, s: 2 }}
  - {{ t: 6, c: 320, n: 1, s: 1 }}
  # Optional key of a row: `residual: false` (never) or `residual: true` (an error if impossible).
  # By default, a block has a residual if its stride is 1 and its input and output channels are equal.
head: {{ channels: 1280 }}  # scaled only by widths above 1
  # With dense layers before the classifier: {{ channels: 1280, dense: [100], dense_activation: relu }}

# Code generation. Weights do not depend on these keys, except for precision.
precision: f32  # or bf16; int8 and uint8 for quantized weights
numerics: fast  # or strict: bit-exact on every instruction set with FMA, at every fusion level
# rounding: xnnpack  # int8 and uint8 only: bit-exact with LiteRT; or tflite-reference
fusion: block  # streamed inverted residuals; relu6: fused epilogues; none: layer by layer; deep: less scratch (int8)
isa: all  # instruction sets, or a list such as [avx2, portable]; the best available is chosen at run time
threads: 1  # threads of one call
batch: 1  # images of run_batch that share one pass over the classifier's weights
scratch_budget: none  # or the largest scratch, such as 1.3 MB; exceeding it is an error
"
    )
}
