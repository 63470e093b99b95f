//! Buffers of a thread that calls a network.

use std::time::{Duration, Instant};

use mbvc_runtime::{LengthError, Network, NetworkInfo, Observer, Preprocess, Unobserved};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Buffers of a thread that calls a network.
pub struct Caller {
    /// `floats` and one cache line more, for alignment.
    scratch: Vec<f32>,
    floats: usize,
    /// Input of a float network; empty for a quantized one.
    input: Vec<f32>,
    /// Input of a quantized network; empty for a float one.
    pixels: Vec<u8>,
    quantized: bool,
    /// Logits of the last call.
    pub logits: Vec<f32>,
}

impl Caller {
    /// Allocates the buffers for calls of a network.
    pub fn new(info: &NetworkInfo) -> Self {
        let (length, quantized) = (info.input.iter().product(), info.conventions.precision.is_quantized());
        let (values, bytes) = if quantized { (0, length) } else { (length, 0) };
        Self {
            scratch: vec![0.0; info.scratch_bytes / size_of::<f32>() + LINE / size_of::<f32>()],
            floats: info.scratch_bytes / size_of::<f32>(),
            input: vec![0.0; values],
            pixels: vec![0; bytes],
            quantized,
            logits: vec![0.0; info.classes],
        }
    }

    /// Sets the input to an image; the pixels are preprocessed for float networks.
    pub fn show(&mut self, pixels: &[u8], preprocess: &Preprocess) {
        if self.quantized {
            self.pixels.copy_from_slice(pixels);
        } else {
            preprocess.apply(pixels, &mut self.input);
        }
    }

    /// Sets the input to noise, the same on every run.
    pub fn noise(&mut self) {
        self.input.iter_mut().zip(noise()).for_each(|(value, noise)| *value = noise);
        self.pixels.iter_mut().zip(noise()).for_each(|(pixel, noise)| *pixel = (noise * 127.5 + 127.5) as u8);
    }

    /// Calls the network once and returns the time. A quantized network reads the pixels as bytes, as in a program.
    pub fn call(&mut self, network: &dyn Network, observer: &mut dyn Observer) -> Duration {
        let scratch = aligned(&mut self.scratch, self.floats);
        let start = Instant::now();
        let ran = match self.quantized {
            false => network.run_into(scratch, &self.input, &mut self.logits, observer),
            true => network.run_pixels_into(scratch, &self.pixels, &mut self.logits, observer),
        };
        let took = start.elapsed();
        // All lengths come from the network's `info`.
        debug_assert!(ran.is_ok(), "{ran:?}");
        took
    }

    /// Computes the logits of the preprocessed image `input`.
    ///
    /// # Errors
    /// If its length is not that of the network's input.
    pub fn run(&mut self, network: &dyn Network, input: &[f32]) -> Result<(), LengthError> {
        network.run_into(aligned(&mut self.scratch, self.floats), input, &mut self.logits, &mut Unobserved)
    }

    /// Computes the logits of the image `pixels`, as [`Network::run_pixels_into`] takes them.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_pixels(&mut self, network: &dyn Network, pixels: &[u8]) -> Result<(), LengthError> {
        network.run_pixels_into(aligned(&mut self.scratch, self.floats), pixels, &mut self.logits, &mut Unobserved)
    }

    /// Returns the pooled vector of an image's pixels.
    pub fn embed(&mut self, network: &dyn Network, pixels: &[u8]) -> Vec<f32> {
        let mut vector = vec![0.0; network.info().embedding];
        let ran = network.embed_pixels_into(aligned(&mut self.scratch, self.floats), pixels, &mut vector);
        debug_assert!(ran.is_ok(), "{ran:?}");
        vector
    }
}

/// Returns `floats` elements that start at a cache line. Alignment affects the speed only.
fn aligned(scratch: &mut [f32], floats: usize) -> &mut [f32] {
    let at = scratch.as_ptr().align_offset(LINE).min(scratch.len() - floats);
    &mut scratch[at..][..floats]
}

/// Uniform noise in -1..1, the same on every run.
fn noise() -> impl Iterator<Item = f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_noise() {
        let values: Vec<f32> = noise().take(1000).collect();
        assert!(values.iter().all(|value| (-1.0..1.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.1, "{mean}");
        assert!(values.iter().any(|value| *value < -0.9) && values.iter().any(|value| *value > 0.9));
    }
}
