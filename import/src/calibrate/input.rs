//! Quantization of input images, whose range follows from preprocessing alone.

use mbvc_runtime::Preprocess;
use mbvc_runtime::quantized::arithmetic::{Integer, Quant};
use mbvc_runtime::quantized::{self, Quantized as _, Table};

use super::range::STEPS;
use crate::error::{ImportError, Result};

const PIXELS: usize = 256;
const LEAST: f64 = -128.0;

/// Mapping from pixels to the integers that a quantized network reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    quant: Quant,
    preprocess: Preprocess,
    /// `[pixel][channel]`
    numbers: [[i32; 3]; PIXELS],
    shift: f64,
}

impl Input {
    /// Returns the mapping for a network with this float32 preprocessing.
    ///
    /// If red, green and blue are preprocessed alike, the scale is that of the pixels, so that pixel `p` becomes
    /// `p - 128` without rounding. The zero point must be an integer, so all pixels are off by the same fraction of a
    /// step; the first layer's bias compensates it. Otherwise one range covers all channels.
    ///
    /// # Errors
    /// If the preprocessing maps all pixels to one value, or to a range that has no scale in float32.
    pub fn new(preprocess: &Preprocess) -> Result<Self> {
        let &Preprocess { scale, offset } = preprocess;
        let alike = scale.iter().all(|other| *other == scale[0]) && offset.iter().all(|other| *other == offset[0]);
        let zero_point = (LEAST - f64::from(offset[0]) / f64::from(scale[0])).round();
        let exact = alike && scale[0] > 0.0 && (LEAST..=-LEAST - 1.0).contains(&zero_point);
        let (step, zero_point, moved) = if exact {
            (scale[0], zero_point, [scale[0] * (LEAST - zero_point) as f32; 3])
        } else {
            let ends = (0..3).flat_map(|channel| [0, 255].map(|pixel| f64::from(preprocess.value(channel, pixel))));
            let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
            let step = (high - low) / STEPS;
            (step as f32, (LEAST - low / step).round(), offset)
        };
        let quant = Quant::new(step, zero_point as i32, Integer::Int8).ok_or_else(|| {
            ImportError::unsupported("the preprocessing has no range that can be quantized")
                .found(preprocess.to_string())
                .help("write the preprocessing of the training into the spec and import the model again")
        })?;
        let preprocess = Preprocess { scale, offset: moved };
        let numbers = numbers(&Table::new(&preprocess, quant, Integer::Int8));
        Ok(Self { quant, preprocess, numbers, shift: f64::from(moved[0]) - f64::from(offset[0]) })
    }

    /// Returns the scale and zero point of the integers.
    pub fn quant(&self) -> Quant {
        self.quant
    }

    /// Returns the preprocessing of the quantized network: the given one, plus the shift.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Quantizes interleaved RGB pixels.
    pub fn quantize(&self, pixels: &[u8]) -> Vec<i32> {
        let channels = (0..3).cycle();
        pixels.iter().zip(channels).map(|(pixel, channel)| self.numbers[usize::from(*pixel)][channel]).collect()
    }

    /// Returns by how much the dequantized pixels exceed their float32 values.
    pub(super) fn shift(&self) -> f64 {
        self.shift
    }
}

/// Quantizes every pixel with the runtime's table.
fn numbers(table: &Table) -> [[i32; 3]; PIXELS] {
    const BYTES: usize = PIXELS * 3;
    let bytes: [u8; BYTES] = std::array::from_fn(|at| (at / 3) as u8);
    let mut found = [0; BYTES];
    quantized::Pixels { bytes: &bytes, table }.row::<BYTES>(0, &mut found);
    let number = |pixel: usize, channel: usize| i32::from(found[pixel * 3 + channel]) + LEAST as i32;
    std::array::from_fn(|pixel| std::array::from_fn(|channel| number(pixel, channel)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_preprocessing_maps_pixels_without_rounding() {
        for (scale, offset, zero_point) in
            [(1.0 / 127.5, -1.0, -1), (0.007_843_138, -1.0, -1), (1.0 / 255.0, 0.0, -128), (0.017, -2.0, -10)]
        {
            let input = Input::new(&Preprocess { scale: [scale; 3], offset: [offset; 3] }).unwrap();
            assert_eq!((input.quant().scale(), input.quant().zero_point()), (scale, zero_point));
            let pixels: Vec<u8> = (0..=255).flat_map(|pixel| [pixel; 3]).collect();
            let found = input.quantize(&pixels);
            assert!(found.iter().zip(&pixels).all(|(number, pixel)| *number == i32::from(*pixel) - 128), "{scale}");
            let excess = f64::from(input.preprocess().value(0, 9)) - f64::from(scale * 9.0 + offset);
            assert!((input.shift() - excess).abs() < 1e-6 && input.shift().abs() <= 0.501 * f64::from(scale));
        }
    }

    #[test]
    fn per_channel_preprocessing_shares_one_range() {
        let preprocess = Preprocess { scale: [0.0171, 0.0175, 0.0174], offset: [-2.118, -2.036, -1.804] };
        let input = Input::new(&preprocess).unwrap();
        let (scale, zero) = (input.quant().scale(), input.quant().zero_point());
        for (channel, pixel) in [(0, 0), (1, 77), (2, 255)] {
            let mut pixels = [0; 3];
            pixels[channel] = pixel;
            let dequantized = f64::from(scale) * f64::from(input.quantize(&pixels)[channel] - zero);
            let exact = f64::from(preprocess.value(channel, pixel));
            assert!((dequantized - exact).abs() <= 0.51 * f64::from(scale), "{channel} {pixel}: {dequantized} {exact}");
        }
        assert_eq!((input.shift(), input.preprocess()), (0.0, &preprocess));
        // All values are above 0: the range is extended to include 0.
        let above = Input::new(&Preprocess { scale: [0.01; 3], offset: [5.0; 3] }).unwrap();
        assert_eq!(above.quant().zero_point(), -128);
        assert!(Input::new(&Preprocess { scale: [0.0; 3], offset: [0.0; 3] }).is_err());
    }
}
