//! Probabilities of quantized logits, as both kinds of TensorFlow Lite's kernels compute them.

use super::{Integer, float};

/// A softmax. Its results have the scale 1/256 and the least value of their type as zero point, as TensorFlow Lite asks.
#[derive(Debug, Clone)]
pub struct Softmax {
    /// `table[255 - d]` is the power of a logit that lies `d` steps below the largest.
    table: [f32; 256],
    integer: Integer,
}

impl Softmax {
    /// Of logits of this type and scale; their zero point does not matter.
    pub fn new(integer: Integer, logit_scale: f32) -> Self {
        let table = core::array::from_fn(|at| {
            // The product is rounded to f32 before the power is taken.
            let exponent = -logit_scale * (255 - at) as f32;
            float::exp(f64::from(exponent)) as f32
        });
        Self { table, integer }
    }

    /// Gives `put` the probability of each logit, with its index; `logits` are added up in order.
    pub fn apply(&self, logits: impl Iterator<Item = i32> + Clone, mut put: impl FnMut(usize, i32)) {
        let limits = self.integer.limits();
        let most = logits.clone().max().unwrap_or(0);
        let power = |logit: i32| self.table[(255 + logit - most).clamp(0, 255) as usize];
        let sum = logits.clone().fold(0.0_f32, |sum, logit| sum + power(logit));
        let inverse = 1.0 / (sum * (1.0 / 256.0));
        for (at, logit) in logits.enumerate() {
            put(at, limits.clamp((power(logit) * inverse + 0.5) as i32 + limits.low));
        }
    }
}
