//! Quantization of the weights and biases of one layer.

use mbvc_runtime::quantized::arithmetic::{Quant, is_scale};

use super::network::Layer;
use crate::container::Container;
use crate::error::{ImportError, Result};

/// Method that selects the scale of a channel's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightScales {
    /// The largest weight becomes 127.
    Max,
    /// The scale with the least squared error over the channel; the largest weights may be clipped.
    Mse,
}

/// Quantization of a layer's input and output.
pub struct Surroundings {
    pub input: Quant,
    pub output: Quant,
    /// Mean of each input channel, for bias correction.
    pub means: Option<Vec<f64>>,
    /// By how much every dequantized input exceeds its float32 value.
    pub shift: f64,
}

/// Tensors of a quantized layer.
pub struct Quantized {
    pub weight: Vec<i8>,
    /// In units of input scale * weight scale.
    pub bias: Vec<i32>,
    pub scales: Vec<f32>,
}

/// Largest integer of a weight; -128 is unused, because weights are symmetric.
const MOST: f64 = 127.0;
/// Least requantization factor (input scale * weight scale / output scale). A single product then moves the result by
/// less than a step, and a sum above 2^23 saturates, so kernels may round sums in float32. A channel of very small
/// weights gets a coarser scale than its weights need.
const LEAST_FACTOR: f64 = 1.0 / 32768.0;
/// Exclusive upper bound of XNNPACK's requantization factors.
const MOST_FACTOR: f64 = 256.0;
/// Greatest absolute value of a sum of bias and products.
const MOST_SUM: f64 = (i32::MAX / 2) as f64;
/// Candidate scales for the least error, in 512ths of the scale of the largest weight. Smaller ones clip that weight;
/// larger ones may round the others better.
const TRIED: std::ops::RangeInclusive<u32> = 480..=640;
const WHOLE: f64 = 512.0;
/// From this many weights on the error depends little on the scale, so fewer candidates suffice.
const MANY: usize = 64;

/// Quantizes weight and bias of `layer`.
///
/// # Errors
/// If a tensor is missing, or a scale is outside the limits of integer arithmetic.
pub fn quantize(layer: &Layer, weights: &Container, around: &Surroundings, by: WeightScales) -> Result<Quantized> {
    let values = |kind: &str| {
        let name = format!("{}.{kind}", layer.name);
        let found = weights.tensor(&name).and_then(|tensor| tensor.data.f32s());
        found.ok_or_else(|| ImportError::malformed(format!("the float32 tensor '{name}' is missing")))
    };
    let (weight, bias) = (values("weight")?, values("bias")?);
    let channels = bias.len();
    let taps = weight.len() / channels.max(1);
    if weight.len() != layer.shape.iter().product::<usize>() || taps * channels != weight.len() {
        return Err(ImportError::malformed("weight and bias have different sizes"));
    }
    let mut quantized = Quantized { weight: vec![0; weight.len()], bias: Vec::new(), scales: Vec::new() };
    let mut column = vec![0.0; taps];
    for (channel, bias) in bias.iter().enumerate() {
        let of_channel = weight.iter().skip(channel).step_by(channels);
        column.iter_mut().zip(of_channel).for_each(|(tap, weight)| *tap = f64::from(*weight));
        let (scale, numbers) = scaled(&column, f64::from(*bias), around, by)?;
        let corrected = f64::from(*bias) - excess(layer, channel, &column, &numbers, f64::from(scale), around);
        // The product of scales is rounded to float32, as in the kernels.
        let step = f64::from(around.input.scale() * scale);
        quantized.bias.push((corrected / step).round().clamp(-MOST_SUM, MOST_SUM) as i32);
        quantized.scales.push(scale);
        let into = quantized.weight.iter_mut().skip(channel).step_by(channels);
        into.zip(numbers).for_each(|(into, number)| *into = number as i8);
    }
    Ok(quantized)
}

/// Returns the scale and the integers of one channel.
fn scaled(column: &[f64], bias: f64, around: &Surroundings, by: WeightScales) -> Result<(f32, Vec<f64>)> {
    let (input, output) = (f64::from(around.input.scale()), f64::from(around.output.scale()));
    let largest = column.iter().fold(0.0_f64, |most, weight| most.max(weight.abs()));
    let chosen = match by {
        WeightScales::Max => largest / MOST,
        WeightScales::Mse => least_error(column, largest / MOST),
    };
    let least = LEAST_FACTOR * output / input;
    let mut scale = chosen.max(least).max(f64::from(f32::MIN_POSITIVE));
    loop {
        let numbers = rounded(column, scale);
        let products = numbers.iter().map(|number| number.abs()).sum::<f64>() * 255.0;
        if products + (bias / (input * scale)).abs() <= MOST_SUM {
            let single = scale as f32;
            let sound = is_scale(single) && is_scale(around.input.scale() * single);
            if !sound || input * scale / output >= MOST_FACTOR {
                return Err(ImportError::unsupported("the ratio of the scales of weights and values is out of range")
                    .expected(format!(
                        "input scale * weight scale below {MOST_FACTOR} * output scale, all normal float32 numbers"
                    ))
                    .found(format!("input {input}, weights {single}, output {output}"))
                    .help("calibrate with more images, or with --method minmax"));
            }
            return Ok((single, numbers));
        }
        scale *= 2.0;
    }
}

fn rounded(column: &[f64], scale: f64) -> Vec<f64> {
    // With the stored float32 scale.
    let scale = f64::from(scale as f32);
    column.iter().map(|weight| (weight / scale).round().clamp(-MOST, MOST)).collect()
}

fn least_error(column: &[f64], whole: f64) -> f64 {
    let error = |scale: f64| -> f64 {
        let of = |weight: &f64| ((weight / scale).round().clamp(-MOST, MOST) * scale - weight).powi(2);
        column.iter().map(of).sum()
    };
    let step = if column.len() < MANY { 1 } else { 8 };
    let tried = TRIED.step_by(step).map(|part| whole * f64::from(part) / WHOLE);
    let best = tried.map(|scale| (error(scale), scale)).reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.map_or(whole, |(_, scale)| scale)
}

/// Returns by how much a channel's results would be too large on average: the rounding errors of its weights times the
/// means of their inputs, plus the effect of the input shift.
fn excess(layer: &Layer, channel: usize, column: &[f64], numbers: &[f64], scale: f64, around: &Surroundings) -> f64 {
    let inputs = around.means.as_deref().unwrap_or_default();
    let mean = |tap: usize| match (inputs.len(), layer.depthwise) {
        (0, _) => 0.0,
        (_, true) => inputs.get(channel).copied().unwrap_or(0.0),
        // Input channels are the innermost dimension of a kernel's taps.
        (count, false) => inputs[tap % count],
    };
    let taps = column.iter().zip(numbers).enumerate();
    taps.map(|(tap, (weight, number))| (number * scale - weight) * mean(tap) + number * scale * around.shift).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Data, Tensor};
    use mbvc_runtime::quantized::arithmetic::Integer;

    fn layer(shape: &[usize], depthwise: bool) -> Layer {
        Layer { name: "l".into(), shape: shape.to_vec(), depthwise, input: 0, output: 1 }
    }

    fn container(weight: &[f32], bias: &[f32]) -> Container {
        let tensor = |name: &str, values: &[f32]| Tensor {
            name: name.into(),
            shape: vec![values.len()],
            data: Data::F32(values.to_vec()),
        };
        Container { tensors: vec![tensor("l.weight", weight), tensor("l.bias", bias)], ..Container::default() }
    }

    fn around(input: f32, output: f32) -> Surroundings {
        let quant = |scale| Quant::new(scale, -128, Integer::Int8).unwrap();
        Surroundings { input: quant(input), output: quant(output), means: None, shift: 0.0 }
    }

    #[test]
    fn scales_are_per_channel() {
        // [1, 1, 2, 2]: channels 0 and 1 are interleaved.
        let weights = container(&[1.27, -0.5, -0.635, 0.25], &[0.1, -0.2]);
        let quantized = quantize(&layer(&[1, 1, 2, 2], false), &weights, &around(0.5, 1.0), WeightScales::Max).unwrap();
        assert_eq!(quantized.weight, [127, -127, -64, 64]);
        assert!((quantized.scales[0] - 0.01).abs() < 1e-8 && (quantized.scales[1] - 0.5 / 127.0).abs() < 1e-8);
        assert_eq!(quantized.bias, [20, -102]);
    }

    #[test]
    fn dead_channels_with_large_biases_stay_in_range() {
        let weights = container(&[1e-30, 0.0, 1e-9], &[-1000.0, 0.0, 2.0]);
        let surroundings = around(0.02, 0.02);
        let quantized = quantize(&layer(&[1, 1, 1, 3], false), &weights, &surroundings, WeightScales::Max).unwrap();
        for (channel, bias) in [-1000.0, 0.0, 2.0].into_iter().enumerate() {
            let step = f64::from(0.02 * quantized.scales[channel]);
            let dequantized = f64::from(quantized.bias[channel]) * step;
            assert!((dequantized - bias).abs() <= 0.501 * step, "{channel}: {dequantized} for {bias}");
            assert!(step / 0.02 >= LEAST_FACTOR * 0.999, "{channel}: {step}");
        }
        assert_eq!(quantized.weight, [0, 0, 0]);
        let far = quantize(&layer(&[1, 1, 1, 3], false), &weights, &around(1e5, 1e-37), WeightScales::Max);
        assert!(far.is_err());
    }

    #[test]
    fn the_least_error_is_at_most_that_of_the_largest_weight() {
        for taps in [9, 32, 501] {
            let mut column: Vec<f32> = (0..taps).map(|n| ((n * 37) % 101) as f32 / 101.0 - 0.5).collect();
            column[taps - 1] = 1.0;
            let weights = container(&column, &[0.0]);
            let error = |by| {
                let quantized = quantize(&layer(&[1, 1, taps, 1], false), &weights, &around(0.02, 0.02), by).unwrap();
                let of = |(number, weight): (&i8, &f32)| (f32::from(*number) * quantized.scales[0] - weight).powi(2);
                quantized.weight.iter().zip(&column).map(of).sum::<f32>()
            };
            let (least, plain) = (error(WeightScales::Mse), error(WeightScales::Max));
            assert!(least <= plain, "{taps} weights: {least} is worse than {plain}");
            assert!(taps > 9 || least < 0.7 * plain, "{taps} weights: {least} is not less than {plain}");
        }
    }

    #[test]
    fn bias_correction_keeps_the_mean() {
        let column: [f32; 4] = [1.0, 0.3333, -0.7171, 0.1234];
        let means = vec![3.0, 5.5, 1.25, 4.0];
        let weights = container(&column, &[0.5]);
        let exact: f64 = 0.5 + column.iter().zip(&means).map(|(weight, mean)| f64::from(*weight) * mean).sum::<f64>();
        let result = |corrected: bool| {
            let around = Surroundings { means: corrected.then(|| means.clone()), ..around(0.001, 0.05) };
            let quantized = quantize(&layer(&[1, 1, 4, 1], false), &weights, &around, WeightScales::Max).unwrap();
            let scale = f64::from(quantized.scales[0]);
            let products = quantized.weight.iter().zip(&means).map(|(weight, mean)| f64::from(*weight) * scale * mean);
            f64::from(quantized.bias[0]) * scale * 0.001 + products.sum::<f64>()
        };
        assert!((result(true) - exact).abs() < 2e-5, "{} for {exact}", result(true));
        assert!((result(false) - exact).abs() > 1e-3, "{} needs no correction", result(false));
    }

    #[test]
    fn the_bias_compensates_a_shifted_input() {
        let weights = container(&[1.27, -0.5, 0.4, 0.25, 0.5, 1.0], &[0.0, 0.0]);
        let shifted = Surroundings { shift: 0.5, means: Some(vec![0.0; 3]), ..around(0.001, 0.05) };
        let quantized = quantize(&layer(&[1, 1, 3, 2], false), &weights, &shifted, WeightScales::Max).unwrap();
        let dequantized = f64::from(quantized.bias[0]) * 0.001 * f64::from(quantized.scales[0]);
        assert!((dequantized + 0.5 * (1.27 + 0.4 + 0.5)).abs() < 0.01, "{dequantized}");
    }
}
