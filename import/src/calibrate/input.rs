//! The quantization of images: of known range, whatever was observed.

use mbvc_runtime::Preprocess;
use mbvc_runtime::quantized::arithmetic::{Integer, Quant};
use mbvc_runtime::quantized::{self, Quantized as _, Table};

use super::range::STEPS;
use crate::error::{ImportError, Result};

const PIXELS: usize = 256;
const LEAST: f64 = -128.0;

/// How pixels become the numbers that a quantized network reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    quant: Quant,
    preprocess: Preprocess,
    /// Of each pixel in each channel, `[pixel][channel]`.
    numbers: [[i32; 3]; PIXELS],
    shift: f64,
}

impl Input {
    /// For a network whose images go through `preprocess` in float32.
    ///
    /// Where red, green and blue are preprocessed alike, the scale is that of the pixels, so that pixel `p` is the
    /// number `p - 128` without rounding. For the zero point to be whole, all pixels then stand for the same part of a
    /// step more than they should, which the first layer's bias makes up for. Otherwise the range is that of all
    /// channels together.
    ///
    /// # Errors
    /// Where the preprocessing leaves all pixels the same, or takes them out of any scale.
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
            ImportError::unsupported("the preprocessing makes no range of values that can be quantized")
                .found(preprocess.to_string())
                .help("give the preprocessing that the network was trained with in the spec, and import it again")
        })?;
        let preprocess = Preprocess { scale, offset: moved };
        let numbers = numbers(&Table::new(&preprocess, quant, Integer::Int8));
        Ok(Self { quant, preprocess, numbers, shift: f64::from(moved[0]) - f64::from(offset[0]) })
    }

    /// What the numbers stand for.
    pub fn quant(&self) -> Quant {
        self.quant
    }

    /// What images go through on the way to the quantized network: the preprocessing given, or that with the shift.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Interleaved RGB pixels as numbers.
    pub fn quantize(&self, pixels: &[u8]) -> Vec<i32> {
        let channels = (0..3).cycle();
        pixels.iter().zip(channels).map(|(pixel, channel)| self.numbers[usize::from(*pixel)][channel]).collect()
    }

    /// What all pixels stand for in excess of what they are in float32.
    pub(super) fn shift(&self) -> f64 {
        self.shift
    }
}

/// What the runtime makes of every pixel.
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
    fn pixels_are_taken_as_they_are() {
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
    fn channels_of_their_own_share_one_range() {
        let preprocess = Preprocess { scale: [0.0171, 0.0175, 0.0174], offset: [-2.118, -2.036, -1.804] };
        let input = Input::new(&preprocess).unwrap();
        let (scale, zero) = (input.quant().scale(), input.quant().zero_point());
        for (channel, pixel) in [(0, 0), (1, 77), (2, 255)] {
            let mut pixels = [0; 3];
            pixels[channel] = pixel;
            let stood_for = f64::from(scale) * f64::from(input.quantize(&pixels)[channel] - zero);
            let exact = f64::from(preprocess.value(channel, pixel));
            assert!((stood_for - exact).abs() <= 0.51 * f64::from(scale), "{channel} {pixel}: {stood_for} {exact}");
        }
        assert_eq!((input.shift(), input.preprocess()), (0.0, &preprocess));
        // All above 0: the range is stretched to hold it.
        let above = Input::new(&Preprocess { scale: [0.01; 3], offset: [5.0; 3] }).unwrap();
        assert_eq!(above.quant().zero_point(), -128);
        assert!(Input::new(&Preprocess { scale: [0.0; 3], offset: [0.0; 3] }).is_err());
    }
}
