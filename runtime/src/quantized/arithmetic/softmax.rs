//! Probabilities of quantized logits, computed as in both of TensorFlow Lite's kernels.

use super::{Integer, float};

/// A softmax. Its results have scale 1/256 and the minimum of their type as zero point, as TensorFlow Lite requires.
#[derive(Debug, Clone)]
pub struct Softmax {
    /// `table[255 - d]` is the exponential of a logit `d` steps below the largest.
    table: [f32; 256],
    integer: Integer,
}

impl Softmax {
    /// Returns the softmax of logits of this type and scale. The zero point of the logits cancels out.
    pub fn new(integer: Integer, logit_scale: f32) -> Self {
        let table = core::array::from_fn(|at| {
            // The product is rounded to f32 before the exponential.
            let exponent = -logit_scale * (255 - at) as f32;
            float::exp(f64::from(exponent)) as f32
        });
        Self { table, integer }
    }

    /// Calls `put` with the index and the probability of each logit. The exponentials are summed in the order of
    /// `logits`.
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
