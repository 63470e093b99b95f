//! Rendering of a recovered network as a spec.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use mbvc_compiler::spec::{Color, Preprocessing, ResidualRule};

use crate::published::{IMAGENET_MEAN, IMAGENET_STD};
use crate::recover::{Recovered, Row};

/// Returns YAML that describes `network`, with `source` in its first line.
pub fn render(network: &Recovered, source: &str) -> String {
    let Recovered { width, resolution: [height, columns], padding, activation, batch_norm_epsilon, classes, .. } =
        network;
    let resolution = if height == columns { height.to_string() } else { format!("[{height}, {columns}]") };
    let multiples = match network.size_multiple {
        1 => String::new(),
        multiple => format!("  # multiples of {multiple}, for which the weights have the padding of the model"),
    };
    let source: String = source.chars().map(|c| if ends_a_comment(c) { ' ' } else { c }).collect();
    let (padding, activation) = (padding.word(), activation.word());
    let preprocessing = preprocessing(&network.preprocessing, network.input);
    let input = match network.input {
        Color::Rgb => String::new(),
        Color::Gray => format!("input: {}\n", network.input),
    };
    let [stem, stem_stride] = network.stem;
    let mut text = format!(
        "\
# Recovered from {source}.

name: MobileNetV2

width: {width:?}
resolution: {resolution}{multiples}
{input}classes: {classes}
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
fn preprocessing(preprocessing: &Preprocessing, input: Color) -> String {
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
    if uniform(scale) && uniform(offset) && scale[0] > 0.0 {
        let low = f64::from(offset[0]);
        return format!("{{ range: [{low}, {}] }}", low + 255.0 * f64::from(scale[0]));
    }
    let std = scale.map(|scale| 1.0 / (255.0 * f64::from(scale)));
    let mean: [f64; 3] = std::array::from_fn(|channel| -f64::from(offset[channel]) * std[channel]);
    let within = |values: [f64; 3], range: RangeInclusive<f64>| values.iter().all(|value| range.contains(value));
    if within(mean, Preprocessing::MEAN) && within(std, Preprocessing::STD) {
        return format!("{{ mean: {mean:?}, std: {std:?} }}");
    }
    // In full, so that the same floats are read.
    let [scale, offset] = [scale, offset].map(|values| values.map(f64::from));
    match input {
        Color::Rgb => format!("{{ scale: {scale:?}, offset: {offset:?} }}"),
        Color::Gray => format!("{{ scale: {:?}, offset: {:?} }}", scale[0], offset[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rendered preprocessing is accepted by the spec, with floats that differ by rounding at most.
    #[test]
    fn specs_accept_every_preprocessing() {
        let accepted = |expected: Preprocessing, form: &str| {
            let text = preprocessing(&expected, Color::Rgb);
            assert!(text.starts_with(form), "{text}");
            let spec = include_str!("../../specs/tiny.yaml");
            let (start, end) = spec.split_once("preprocessing: ").unwrap();
            let (_, end) = end.split_once('\n').unwrap();
            let source = mbvc_compiler::SourceFile::new("spec.yaml", format!("{start}preprocessing: {text}\n{end}"));
            let found = mbvc_compiler::spec::parse(&source).unwrap_or_else(|errors| panic!("{text}: {errors}"));
            let close = |one: f32, other: f32| (one - other).abs() <= 1e-6 * other.abs().max(1e-3);
            let numbers = |values: Preprocessing| [values.scale, values.offset].concat();
            let pairs = numbers(found.preprocessing).into_iter().zip(numbers(expected));
            assert!(pairs.clone().all(|(one, other)| close(one, other)), "{text}: {:?}", found.preprocessing);
            if form.starts_with("{ scale") {
                assert_eq!(found.preprocessing, expected);
            }
        };
        accepted(Preprocessing::from_range(-1.0, 1.0), "{ range: [-1, 1]");
        accepted(Preprocessing::from_range(-2.5, 7.0), "{ range");
        accepted(Preprocessing::from_mean_and_std([0.1, 0.2, 0.3], [0.5, 0.25, 0.2]), "{ mean");
        for (mean, std) in [
            ([1.5, 0.5, 0.5], [0.5; 3]),
            ([-0.2, 0.0, 0.1], [0.3, 0.3, 0.4]),
            ([0.4, 0.5, 0.6], [2.0, 1.0, 1.0]),
            ([103.939, 116.779, 123.68], [1.0, 0.5, 1.0]),
        ] {
            accepted(Preprocessing::from_mean_and_std(mean, std), "{ scale");
        }
        accepted(Preprocessing { scale: [-1.0 / 255.0; 3], offset: [1.0; 3] }, "{ scale");
        accepted(Preprocessing { scale: [0.1, -0.3, 0.7], offset: [0.1, 1e5, -3.3] }, "{ scale");
    }
}
