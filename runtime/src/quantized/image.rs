//! Conversion of images to the bytes of a quantized network.

use super::Integral;
use crate::preprocess::Preprocess;
use crate::quantized::arithmetic::{Integer, Quant, round_ties_even};
use crate::simd::Area;

/// An image `[height, width, channels]` that is read row by row, as the network's bytes.
pub trait Quantized: Sync {
    /// Writes `BYTES` bytes: numbers `y * BYTES ..` of the image.
    fn row<const BYTES: usize>(&self, y: usize, to: &mut [u8]);
}

/// An image of numbers of the network's type.
impl<T: Integral> Quantized for &[T] {
    #[inline]
    fn row<const BYTES: usize>(&self, y: usize, to: &mut [u8]) {
        for (to, number) in to[..BYTES].iter_mut().zip(&self[y * BYTES..][..BYTES]) {
            *to = number.to_byte();
        }
    }
}

/// An image of real numbers, which are quantized to nearest, ties to even.
pub struct Values<'a> {
    /// The image, `[height, width, channels]`, preprocessed.
    pub values: &'a [f32],
    /// Quantization of the input.
    pub quant: Quant,
    /// The input's type.
    pub integer: Integer,
}

impl Quantized for Values<'_> {
    fn row<const BYTES: usize>(&self, y: usize, to: &mut [u8]) {
        for (to, value) in to[..BYTES].iter_mut().zip(&self.values[y * BYTES..][..BYTES]) {
            *to = quantize(*value, self.quant, self.integer);
        }
    }
}

/// Returns the byte that represents a real number.
fn quantize(value: f32, quant: Quant, integer: Integer) -> u8 {
    let limits = integer.limits();
    let steps = round_ties_even((value / quant.scale()).clamp(-1024.0, 1024.0));
    (limits.clamp(steps + quant.zero_point()) - limits.low) as u8
}

/// The byte for each pixel value of each channel. The three channels of gray pixels are equal, as in [`Preprocess`].
#[derive(Debug, Clone)]
pub struct Table {
    bytes: [[u8; 256]; 3],
    same: bool,
}

impl Table {
    /// Returns the table for pixels that are preprocessed to real numbers and then quantized.
    pub fn new(preprocess: &Preprocess, quant: Quant, integer: Integer) -> Self {
        let byte = |channel, pixel: usize| quantize(preprocess.value(channel, pixel as u8), quant, integer);
        let bytes: [[u8; 256]; 3] = core::array::from_fn(|channel| core::array::from_fn(|pixel| byte(channel, pixel)));
        let same = bytes.iter().all(|bytes| bytes.iter().enumerate().all(|(pixel, byte)| usize::from(*byte) == pixel));
        Self { bytes, same }
    }

    /// Writes the bytes of interleaved pixels to `to`. If the lengths differ, the rest of the longer slice is ignored.
    #[inline]
    pub fn convert(&self, pixels: &[u8], to: &mut [u8]) {
        let (pixels, pixels_rest) = pixels.as_chunks::<3>();
        let (to, to_rest) = to.as_chunks_mut::<3>();
        let convert = |pixels: &[u8], to: &mut [u8]| {
            for ((to, pixel), table) in to.iter_mut().zip(pixels).zip(&self.bytes) {
                *to = table[usize::from(*pixel)];
            }
        };
        for (pixel, to) in pixels.iter().zip(to) {
            convert(pixel, to);
        }
        // Gray pixels, whose number is not a multiple of three.
        convert(pixels_rest, to_rest);
    }
}

/// Pixels: `[height, width, 3]` red, green, blue, or `[height, width, 1]` gray.
pub struct Pixels<'a> {
    /// Pixel values, row by row.
    pub bytes: &'a [u8],
    /// Byte for each pixel value.
    pub table: &'a Table,
}

impl Quantized for Pixels<'_> {
    #[inline]
    fn row<const BYTES: usize>(&self, y: usize, to: &mut [u8]) {
        let (pixels, to) = (&self.bytes[y * BYTES..][..BYTES], &mut to[..BYTES]);
        if self.table.same {
            to.copy_from_slice(pixels);
            return;
        }
        self.table.convert(pixels, to);
    }
}

/// Writes row `y` of an image to the first `BYTES` bytes of `to`.
#[inline]
pub fn image_bytes<const BYTES: usize>(image: &impl Quantized, y: usize, to: Area<'_, u8>) {
    to.write(0..BYTES, |to| image.row::<BYTES>(y, to));
}
