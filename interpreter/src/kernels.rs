//! The arithmetic of each operation. The order of every chain is part of the definition; see [`super::Mode::Strict`].

use mbvc_compiler::ir::{Activation, Epilogue, Padding, Quant, Shape, Window};

use super::real::{Number, Real};

/// An NHWC value.
#[derive(Clone, Copy)]
pub struct Image<'v, T> {
    pub shape: Shape,
    pub quant: Option<Quant>,
    pub values: &'v [T],
}

/// Summation order of the products of one output, starting at the bias.
#[derive(Clone, Copy)]
pub enum Order {
    /// One product at a time, in raster order.
    Raster,
    /// In pairs; the second product of a pair is added before the first.
    Pairs,
    /// `depth` products at a time. Products with even and odd indices are summed separately, each from zero. The two sums are
    /// added, and the result is added to the output.
    Blocks { depth: usize },
}

impl Order {
    /// Adds the products of `taps` and `weights` (`[tap][out]`) to the sums of all output channels. The taps are contiguous
    /// in the window.
    fn accumulate<T: Number>(self, sums: &mut [T], taps: &[T], weights: &[T]) {
        let channels = sums.len();
        let products = || taps.iter().zip(weights.chunks_exact(channels));
        match self {
            Self::Raster => products().for_each(|(tap, weights)| accumulate(sums, *tap, weights)),
            Self::Pairs => {
                let mut products = products();
                while let Some(first) = products.next() {
                    for (tap, weights) in products.next().into_iter().chain([first]) {
                        accumulate(sums, *tap, weights);
                    }
                }
            }
            Self::Blocks { depth } => {
                for (taps, weights) in taps.chunks(depth).zip(weights.chunks(depth * channels)) {
                    let mut parts = [vec![T::ZERO; channels], vec![T::ZERO; channels]];
                    for (at, (tap, weights)) in taps.iter().zip(weights.chunks_exact(channels)).enumerate() {
                        accumulate(&mut parts[at % 2], *tap, weights);
                    }
                    for (sum, (even, odd)) in sums.iter_mut().zip(parts[0].iter().zip(&parts[1])) {
                        *sum = sum.add(even.add(*odd));
                    }
                }
            }
        }
    }
}

pub struct Convolution<'v, T> {
    pub window: Window,
    pub weight: &'v [T],
    pub bias: Vec<T>,
}

impl<T: Number> Convolution<'_, T> {
    /// Computes a dense convolution with weights `[kh, kw, in, out]`. Taps are visited in raster order with the channels
    /// innermost; `order` sets how their products are summed.
    pub fn dense(&self, input: Image<'_, T>, output: Shape, order: Order) -> Vec<T> {
        let ([kh, kw], [sh, sw]) = (self.window.kernel, self.window.stride);
        let (padded, row) = padded(input, self.window.padding);
        let channels = input.shape.channels;
        let mut out = vec![T::ZERO; output.elements()];
        for (pixel, out) in out.chunks_exact_mut(output.channels).enumerate() {
            let (y, x) = (pixel / output.width, pixel % output.width);
            out.copy_from_slice(&self.bias);
            for ky in 0..kh {
                // The taps of a kernel row are adjacent, and so are their weights.
                let from = (y * sh + ky) * row + x * sw * channels;
                let taps = &padded[from..from + kw * channels];
                let weights = &self.weight[ky * kw * channels * output.channels..];
                order.accumulate(out, taps, weights);
            }
        }
        out
    }

    /// Weights `[kh, kw, channels]`; a chain takes the taps column by column.
    pub fn depthwise(&self, input: Image<'_, T>, output: Shape) -> Vec<T> {
        let ([kh, kw], [sh, sw]) = (self.window.kernel, self.window.stride);
        let (padded, row) = padded(input, self.window.padding);
        let channels = output.channels;
        let mut out = vec![T::ZERO; output.elements()];
        for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
            let (y, x) = (pixel / output.width, pixel % output.width);
            out.copy_from_slice(&self.bias);
            for kx in 0..kw {
                for ky in 0..kh {
                    let from = (y * sh + ky) * row + (x * sw + kx) * channels;
                    let taps = &padded[from..from + channels];
                    let weights = &self.weight[(ky * kw + kx) * channels..];
                    for ((sum, tap), weight) in out.iter_mut().zip(taps).zip(weights) {
                        *sum = tap.fma(*weight, *sum);
                    }
                }
            }
        }
        out
    }
}

/// Activation, then residual.
pub fn finish<T: Real>(mut out: Vec<T>, epilogue: Epilogue, residual: Option<&[T]>) -> Vec<T> {
    if let Some(activation) = epilogue.activation {
        out.iter_mut().for_each(|value| *value = activate(*value, activation));
    }
    if let (true, Some(residual)) = (epilogue.residual, residual) {
        out.iter_mut().zip(residual).for_each(|(value, residual)| *value = value.add(*residual));
    }
    out
}

/// Adds `tap * weights` to the sums of all output channels.
#[inline(always)]
fn accumulate<T: Number>(sums: &mut [T], tap: T, weights: &[T]) {
    for (sum, weight) in sums.iter_mut().zip(weights) {
        *sum = tap.fma(*weight, *sum);
    }
}

/// The image with zero padding, and the length of its rows.
fn padded<T: Number>(image: Image<'_, T>, padding: Padding) -> (Vec<T>, usize) {
    let Shape { height, width, channels } = image.shape;
    let row = (padding.left + width + padding.right) * channels;
    let mut padded = vec![T::ZERO; (padding.top + height + padding.bottom) * row];
    for (y, values) in image.values.chunks_exact(width * channels).enumerate() {
        let from = (padding.top + y) * row + padding.left * channels;
        padded[from..from + values.len()].copy_from_slice(values);
    }
    (padded, row)
}

/// NaN becomes 0, as in the comparisons of vector instructions.
pub fn activate<T: Real>(value: T, activation: Activation) -> T {
    let positive = if value > T::ZERO { value } else { T::ZERO };
    match activation {
        Activation::Relu => positive,
        Activation::Relu6 => {
            if positive < T::SIX {
                positive
            } else {
                T::SIX
            }
        }
    }
}

/// In f64, rounded once. Generated code has no such step: batch normalization is folded.
pub fn batch_norm<T: Real>(values: &[T], gamma: &[T], beta: &[T], mean: &[T], variance: &[T], epsilon: f64) -> Vec<T> {
    let deviation: Vec<f64> = variance.iter().map(|variance| (variance.to_f64() + epsilon).sqrt()).collect();
    let channels = values.chunks(gamma.len().max(1));
    channels
        .flat_map(|pixel| {
            pixel.iter().enumerate().map(|(c, value)| {
                let centered = value.to_f64() - mean[c].to_f64();
                T::of_f64(centered * gamma[c].to_f64() / deviation[c] + beta[c].to_f64())
            })
        })
        .collect()
}

/// The mean over all pixels, summed in raster order.
pub fn pool<T: Real>(input: Image<'_, T>) -> Vec<T> {
    let mut sums = vec![T::ZERO; input.shape.channels];
    for pixel in input.values.chunks_exact(input.shape.channels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum = sum.add(*value));
    }
    sums.into_iter().map(|sum| T::mean(sum, input.shape.pixels())).collect()
}

/// Weights `[in, out]`, inputs in order.
pub fn dense<T: Number>(input: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
    let mut out = bias.to_vec();
    for (value, weights) in input.iter().zip(weight.chunks_exact(bias.len())) {
        accumulate(&mut out, *value, weights);
    }
    out
}
