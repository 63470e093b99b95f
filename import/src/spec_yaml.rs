//! Rendering of a recovered network as a spec.

use std::fmt::Write as _;

use mbvc_compiler::spec::{Preprocessing, ResidualRule};

use crate::published::{IMAGENET_MEAN, IMAGENET_STD};
use crate::recover::{Recovered, Row};

/// Returns YAML that describes `network`, with `source` in its first line.
pub fn render(network: &Recovered, source: &str) -> String {
    let Recovered { width, resolution: [height, columns], padding, activation, batch_norm_epsilon, classes, .. } =
        network;
    let resolution = if height == columns { height.to_string() } else { format!("[{height}, {columns}]") };
    let source: String = source.chars().map(|c| if ends_a_comment(c) { ' ' } else { c }).collect();
    let (padding, activation) = (padding.word(), activation.word());
    let preprocessing = preprocessing(&network.preprocessing);
    let [stem, stem_stride] = network.stem;
    let mut text = format!(
        "\
# Recovered from {source}.

name: MobileNetV2

width: {width:?}
resolution: {resolution}
classes: {classes}
preprocessing: {preprocessing}

padding: {padding}
activation: {activation}
batch_norm_epsilon: {batch_norm_epsilon}

stem: {{ channels: {stem}, stride: {stem_stride} }}
blocks:
"
    );
    for Row { expansion, channels, repeat, stride, residual } in &network.rows {
        let residual = match residual {
            ResidualRule::Auto => "",
            ResidualRule::Required => ", residual: true",
            ResidualRule::Never => ", residual: false",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  - {{ t: {expansion}, c: {channels}, n: {repeat}, s: {stride}{residual} }}");
    }
    let dense = match network.dense.as_slice() {
        [] => String::new(),
        units => format!(", dense: {units:?}, dense_activation: {}", network.dense_activation),
    };
    let _ = writeln!(text, "head: {{ channels: {}{dense} }}", network.head);
    if network.precision.is_quantized() {
        let _ = writeln!(text, "\nprecision: {}", network.precision.word());
    }
    text
}

/// Whether YAML forbids a character or may treat it as the end of a line. File names may contain any.
fn ends_a_comment(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Renders a range if all channels share it, in the roundest numbers that result in the same floats.
fn preprocessing(preprocessing: &Preprocessing) -> String {
    let Preprocessing { scale, offset } = *preprocessing;
    for [low, high] in [[-1.0, 1.0], [0.0, 1.0], [0.0, 255.0], [-128.0, 127.0]] {
        if *preprocessing == Preprocessing::from_range(low, high) {
            return format!("{{ range: [{low}, {high}] }}");
        }
    }
    if *preprocessing == Preprocessing::from_mean_and_std(IMAGENET_MEAN, IMAGENET_STD) {
        return format!("{{ mean: {IMAGENET_MEAN:?}, std: {IMAGENET_STD:?} }}");
    }
    let uniform = |values: [f32; 3]| values == [values[0]; 3];
    if uniform(scale) && uniform(offset) {
        let low = f64::from(offset[0]);
        return format!("{{ range: [{low}, {}] }}", low + 255.0 * f64::from(scale[0]));
    }
    let std = scale.map(|scale| 1.0 / (255.0 * f64::from(scale)));
    let mean: [f64; 3] = std::array::from_fn(|channel| -f64::from(offset[channel]) * std[channel]);
    format!("{{ mean: {mean:?}, std: {std:?} }}")
}
