//! Random weights, to run and measure a network without a trained model.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::Weights;
use super::bytes::Bytes;
use crate::conventions::{Conventions, FORMAT, Precision};
use crate::formats::container::Dtype;
use crate::preprocess::Preprocess;

impl Weights {
    /// Returns random weights that keep activations in a typical range. A seed gives the same weights on every machine.
    ///
    /// `tensors` lists canonical names with types and shapes, weights before their scales. Weights are uniform with
    /// He's variance, 2 / fan-in (He et al. 2015, arXiv:1502.01852), or 1 / fan-in before a linear output
    /// (`*.project.weight`, `classifier.weight`). Biases are uniform in -0.1..0.1. Quantized weights and biases have
    /// the same distributions in units of their scales; the scales of activations cover 0 to 6.
    ///
    /// # Errors
    /// If a name occurs twice, or there are more tensors than a weights file may have.
    pub fn random<'a>(
        tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
        conventions: Conventions,
        seed: u64,
    ) -> Result<Self, super::WeightsError> {
        let preprocess = Preprocess { scale: [1.0 / 127.5; 3], offset: [-1.0; 3] };
        let dense = conventions
            .dense_activation
            .map_or(String::new(), |activation| format!("\"mbvc.dense_activation\":\"{activation}\","));
        let mut header = format!(
            "{{\"__metadata__\":{{\"mbvc.format\":\"{FORMAT}\",\"mbvc.source\":\"random, seed {seed}\",\
             \"mbvc.activation\":\"{}\",\"mbvc.padding\":\"{}\",\"mbvc.precision\":\"{}\",\"mbvc.classes\":\"{}\",\
             {dense}\"mbvc.pool\":\"mean\",\"mbvc.preprocessing\":\"{preprocess}\"}}",
            conventions.activation,
            conventions.padding,
            conventions.precision.of_weights(),
            conventions.classes
        );
        let mut data = Vec::new();
        let mut random = SplitMix64(seed);
        let mut quantized = Quantized { precision: conventions.precision, weights: 1.0 };
        for (name, dtype, shape) in tensors {
            let begin = data.len();
            let bound = bound(name, shape);
            let count: usize = shape.iter().product();
            data.reserve(count * dtype.bytes());
            match (dtype, conventions.precision.of_weights()) {
                (Dtype::F32, Precision::F32) => {
                    data.extend((0..count).flat_map(|_| (random.unit() * bound).to_le_bytes()));
                }
                (Dtype::F32, _) => {
                    let scale = quantized.scale(name);
                    data.extend((0..count).flat_map(|_| scale.to_le_bytes()));
                }
                (Dtype::I32, _) => {
                    data.extend((0..count).flat_map(|_| quantized.number(name, &mut random).to_le_bytes()))
                }
                _ => {
                    quantized.weights = bound;
                    data.extend((0..count).map(|_| (random.next() >> 56) as u8));
                }
            }
            header.push_str(",\"");
            push_escaped(&mut header, name);
            let _ = write!(
                header,
                "\":{{\"dtype\":\"{}\",\"shape\":{shape:?},\"data_offsets\":[{begin},{}]}}",
                dtype.name(),
                data.len()
            );
        }
        header.push('}');
        // Data starts at a multiple of eight bytes, as the format requires of writers.
        while header.len() % 8 != 0 {
            header.push(' ');
        }
        let mut bytes = Vec::with_capacity(8 + header.len() + data.len());
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header.into_bytes());
        bytes.append(&mut data);
        Self::check(Bytes::Vec(bytes), None)
    }
}

/// Half the width of the uniform distribution. The variance is a third of its square.
fn bound(name: &str, shape: &[usize]) -> f32 {
    // Products per output of [kh, kw, in, out], [kh, kw, channels], [in, out].
    let fan_in: usize = match shape {
        [height, width, input, _] => height * width * input,
        [height, width, _] => height * width,
        [input, _] => *input,
        _ => return 0.1,
    };
    let linear = name.ends_with("project.weight") || name == "classifier.weight";
    let gain = if linear { 1.0 } else { 2.0 };
    sqrt(3.0 * gain / fan_in.max(1) as f32)
}

/// Determines the scales, zero points and biases of a quantized network.
struct Quantized {
    precision: Precision,
    /// Largest weight of the current layer.
    weights: f32,
}

impl Quantized {
    /// The scale with this name.
    fn scale(&self, name: &str) -> f32 {
        if name.ends_with(".weight.scale") {
            return self.weights / 128.0;
        }
        match name {
            "input.scale" => 1.0 / 128.0,
            _ if is_linear(name) => 4.0 / 128.0,
            _ => 6.0 / 255.0,
        }
    }

    /// The zero point or bias with this name.
    fn number(&self, name: &str, random: &mut SplitMix64) -> i32 {
        let (least, middle) = if self.precision == Precision::Uint8 { (0, 128) } else { (-128, 0) };
        let around = |random: &mut SplitMix64, most: f32| (random.unit() * most) as i32;
        match name {
            "input.zero_point" => middle,
            _ if name.ends_with(".weight.zero_point") => middle + around(random, 8.0),
            _ if name.ends_with(".zero_point") && is_linear(name) => middle + around(random, 20.0),
            _ if name.ends_with(".zero_point") => least,
            // 0.1, in units of the scale of an activation times that of the weights.
            _ => around(random, 0.1 * 128.0 * 255.0 / 6.0 / self.weights),
        }
    }
}

/// Whether the value with this scale or zero point can be negative.
fn is_linear(name: &str) -> bool {
    [".project.", ".add."].iter().any(|part| name.contains(part)) || name.starts_with("classifier.")
}

fn push_escaped(header: &mut String, name: &str) {
    for c in name.chars() {
        match c {
            '"' | '\\' => header.extend(['\\', c]),
            '\0'..'\x20' => {
                let _ = write!(header, "\\u{:04x}", c as u32);
            }
            _ => header.push(c),
        }
    }
}

/// Square root by Newton's method, because core has none; accurate to about an ulp.
fn sqrt(x: f32) -> f32 {
    // Halving the exponent gives an estimate within a few percent. Each step doubles the correct digits.
    let mut root = f32::from_bits((x.to_bits() >> 1) + 0x1fc0_0000);
    for _ in 0..4 {
        root = 0.5 * (root + x / root);
    }
    root
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1, on a grid of exact f32 values.
    fn unit(&mut self) -> f32 {
        let bits = (self.next() >> 40) as i32; // 24 bits
        (bits - (1 << 23)) as f32 / (1 << 23) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqrt_is_close() {
        for x in [1e-6f32, 0.003, 0.5, 1.0, 2.0, 3.0, 1000.0] {
            assert!((sqrt(x) - x.sqrt()).abs() <= x.sqrt() * 2e-7, "{x}");
        }
    }

    #[test]
    fn variance_is_hes() {
        let shape = [1usize, 1, 24, 500];
        let conventions = super::super::tests::CONVENTIONS;
        let weights = Weights::random([("block2.expand.weight", Dtype::F32, &shape[..])], conventions, 7).unwrap();
        let values = weights.container().tensor("block2.expand.weight").unwrap().f32s().unwrap();
        assert_eq!(values.len(), 12000);
        let mean = values.iter().sum::<f32>() / 12000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 12000.0;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance * 24.0 / 2.0 - 1.0).abs() < 0.03, "{variance}");
    }

    #[test]
    fn weights_depend_on_the_seed() {
        let make =
            |seed| Weights::random([("a", Dtype::F32, &[9usize][..])], super::super::tests::CONVENTIONS, seed).unwrap();
        assert_eq!(make(1).as_bytes(), make(1).as_bytes());
        assert_ne!(make(1).as_bytes(), make(2).as_bytes());
    }

    #[test]
    fn names_are_escaped() {
        let name = "a\"b\\c\n\u{1}é";
        let weights =
            Weights::random([(name, Dtype::F32, &[2usize][..])], super::super::tests::CONVENTIONS, 0).unwrap();
        assert!(weights.container().tensor(name).is_some());
        let twice = Weights::random(
            [("a", Dtype::F32, &[1usize][..]), ("a", Dtype::F32, &[1][..])],
            super::super::tests::CONVENTIONS,
            0,
        );
        assert!(std::string::ToString::to_string(&twice.unwrap_err()).contains("two tensors have this name"));
    }
}
