//! Folding of normalization into weights and biases, in f64 and rounded to f32 once
//! (the recipe of the compiler's `ParamSource::FoldedWeight` and `FoldedBias`).

use crate::error::{ImportError, Result};
use crate::recognize::{Layer, Norm};
use crate::source::{BatchNorm, Constant};
use crate::tensor::{Data, Tensor};

/// Returns the canonical `weight` and `bias` tensors of a layer.
pub fn fold(layer: &Layer<'_>) -> Result<[Tensor; 2]> {
    folded(layer).map_err(|error| error.at(layer.place.clone()).role(layer.role.clone()))
}

fn folded(layer: &Layer<'_>) -> Result<[Tensor; 2]> {
    let [weight, bias] = exact(layer)?;
    Ok([rounded(layer, "weight", &layer.shape, weight)?, rounded(layer, "bias", &[layer.out_channels()], bias)?])
}

/// Returns weight and bias before they are rounded.
fn exact(layer: &Layer<'_>) -> Result<[Vec<f64>; 2]> {
    let channels = layer.out_channels();
    check_real(&layer.kernel.constant)?;
    let mut weight = layer.kernel.values();
    if let Some(copies) = &layer.copies {
        weight = merged(&weight, copies, channels);
    }
    let mut bias = match layer.bias {
        None => None,
        Some(bias) if bias.len() == channels => {
            check_real(bias)?;
            Some(bias.to_f64())
        }
        Some(bias) => {
            return Err(ImportError::malformed("the bias does not fit the layer")
                .expected(format!("{channels} values"))
                .found(format!("{} values", bias.len())));
        }
    };
    // In reverse order: the last normalization is adjacent to the layer.
    for norm in layer.before.iter().rev() {
        apply_before(norm, &mut weight, &mut bias, channels)?;
    }
    for norm in &layer.norms {
        apply(norm, &mut weight, &mut bias, channels)?;
    }
    let bias = bias.unwrap_or_else(|| vec![0.0; channels]);
    match &layer.merged {
        None => Ok([weight, bias]),
        Some(before) => Ok(product(exact(before)?, [weight, bias])),
    }
}

/// Returns two layers as one: `(x a + b) c + d = x (a c) + (b c + d)`. Weights are `[in, out]`.
fn product([a, b]: [Vec<f64>; 2], [c, d]: [Vec<f64>; 2]) -> [Vec<f64>; 2] {
    let (between, outputs) = (b.len().max(1), d.len().max(1));
    let add_row = |sums: &mut [f64], row: &[f64]| {
        for (factor, weights) in row.iter().zip(c.chunks_exact(outputs)) {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += factor * weight);
        }
    };
    let mut weight = vec![0.0; a.len() / between * outputs];
    weight.chunks_exact_mut(outputs).zip(a.chunks_exact(between)).for_each(|(sums, row)| add_row(sums, row));
    let mut bias = d;
    add_row(&mut bias, &b);
    [weight, bias]
}

/// Sums a weight `[kh, kw, in, out]` over its input channels, which are copies of one channel times `copies`.
fn merged(weight: &[f64], copies: &[f64], channels: usize) -> Vec<f64> {
    let taps = weight.chunks_exact(copies.len() * channels);
    let sum = |tap: &[f64], output: usize| {
        let rows = tap.chunks_exact(channels).zip(copies);
        rows.map(|(row, factor)| row[output] * factor).sum::<f64>()
    };
    taps.flat_map(|tap| (0..channels).map(move |output| sum(tap, output))).collect()
}

fn check_real(constant: &Constant<'_>) -> Result<()> {
    if constant.is_real() {
        return Ok(());
    }
    Err(ImportError::unsupported("the weights are integers without a scale").expected("floats or quantized integers"))
}

/// Folds one normalization. Output channels are the last axis of every canonical weight.
fn apply(norm: &Norm<'_>, weight: &mut [f64], bias: &mut Option<Vec<f64>>, channels: usize) -> Result<()> {
    match norm {
        Norm::BatchNorm(norm) => {
            let [gamma, beta] = [norm.gamma.to_f64(), norm.beta.to_f64()];
            let (mean, deviation) = (norm.mean.to_f64(), deviations(norm)?);
            for row in weight.chunks_exact_mut(channels) {
                for ((weight, gamma), deviation) in row.iter_mut().zip(&gamma).zip(&deviation) {
                    *weight = *weight * gamma / deviation;
                }
            }
            let before = bias.take();
            let centered = mean.iter().enumerate().map(|(channel, mean)| {
                let before = before.as_ref().and_then(|bias| bias.get(channel));
                // 0 - mean is exact, so without a bias this is `beta - mean * gamma / deviation`.
                before.copied().unwrap_or(0.0) - mean
            });
            let factors = gamma.iter().zip(&deviation).zip(&beta);
            let shifted = centered.zip(factors).map(|(x, ((gamma, deviation), beta))| beta + x * gamma / deviation);
            *bias = Some(shifted.collect());
        }
        Norm::Affine(affine) => {
            let scales: Vec<f64> = (0..channels).filter_map(|channel| affine.scale(channel)).collect();
            for row in weight.chunks_exact_mut(channels) {
                row.iter_mut().zip(&scales).for_each(|(weight, scale)| *weight *= scale);
            }
            let before = bias.take().unwrap_or_else(|| vec![0.0; channels]);
            let shifted = before.iter().zip(&scales).enumerate();
            let shifted = shifted.map(|(channel, (bias, scale))| bias * scale + affine.offset(channel).unwrap_or(0.0));
            *bias = Some(shifted.collect());
        }
    }
    Ok(())
}

/// Folds one normalization of the input `[in]` into a weight `[in, out]`: `w (a x + b) = (w a) x + w b`.
fn apply_before(norm: &Norm<'_>, weight: &mut [f64], bias: &mut Option<Vec<f64>>, channels: usize) -> Result<()> {
    let factors: Vec<[f64; 2]> = match norm {
        Norm::BatchNorm(norm) => {
            let [gamma, beta] = [norm.gamma.to_f64(), norm.beta.to_f64()];
            let deviations = deviations(norm)?;
            let scales = gamma.iter().zip(deviations).map(|(gamma, deviation)| gamma / deviation);
            let shifts =
                scales.clone().zip(norm.mean.to_f64()).zip(beta).map(|((scale, mean), beta)| beta - mean * scale);
            scales.zip(shifts).map(|(scale, shift)| [scale, shift]).collect()
        }
        Norm::Affine(affine) => {
            let factor = |input| Some([affine.scale(input)?, affine.offset(input)?]);
            (0..weight.len() / channels.max(1)).map_while(factor).collect()
        }
    };
    let sums = bias.get_or_insert_with(|| vec![0.0; channels]);
    for (row, [scale, shift]) in weight.chunks_exact_mut(channels).zip(factors) {
        for (weight, sum) in row.iter_mut().zip(&mut *sums) {
            *sum += *weight * shift;
            *weight *= scale;
        }
    }
    Ok(())
}

/// Returns `sqrt(variance + epsilon)` of each channel.
fn deviations(norm: &BatchNorm<'_>) -> Result<Vec<f64>> {
    let deviations: Vec<f64> = norm.variance.to_f64().iter().map(|variance| (variance + norm.epsilon).sqrt()).collect();
    if deviations.iter().any(|deviation| deviation.is_nan() || *deviation <= 0.0) {
        return Err(ImportError::malformed("a variance of the batch normalization is negative"));
    }
    Ok(deviations)
}

fn rounded(layer: &Layer<'_>, kind: &str, shape: &[usize], values: Vec<f64>) -> Result<Tensor> {
    let data: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    let invalid = data.iter().filter(|value| !value.is_finite()).count();
    if invalid > 0 {
        return Err(ImportError::malformed(format!("{invalid} of {} values of the {kind} are not finite", data.len()))
            .expected("values within the range of float32")
            .help("the file may be damaged, or the training diverged"));
    }
    Ok(Tensor { name: format!("{}.{kind}", layer.role), shape: shape.to_vec(), data: Data::F32(data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_without_an_activation_between_are_one() {
        // [2, 3] and [3, 1].
        let first = [vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![1.0, 0.0, -1.0]];
        let second = [vec![1.0, 10.0, 100.0], vec![7.0]];
        assert_eq!(product(first, second), [vec![321.0, 654.0], vec![-92.0]]);
    }
}
