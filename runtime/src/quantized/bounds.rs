//! Bounds of a channel's sums, and the proof that they can carry `BIAS` through the requantization.
//!
//! The float with the bit pattern `BIAS + sum` is 2^23 + sum for sums from 0 to 2^23, so that the multiply-add by the
//! scale and `-2^23 * scale` rounds exactly what `f32(sum) * scale` rounds. So does the product of the scale and the
//! difference from 2^23, where there is no multiply-add with one rounding. Below 0 it is less than 2^23, and the
//! result less than 0; above 2^23 it is more than the sum, and both results are beyond 255.

use super::weight_sums::Reach;
use crate::simd::quantized::BIAS;

/// Bounds of a channel's sums over all images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub least: i64,
    pub most: i64,
}

impl Bounds {
    /// Bounds for a bias, with zero points folded in, and weights that are multiplied by bytes.
    pub fn new(bias: i32, weights: Reach) -> Self {
        let [least, most] = [weights.below, weights.above].map(|sum| i64::from(bias) + 255 * i64::from(sum));
        Self { least, most }
    }

    /// Whether all sums are below 2^30 steps of the result's scale, so that no conversion to an integer overflows.
    pub fn convert(self, scale: f32) -> bool {
        self.most as f32 * scale < (1 << 30) as f32
    }

    /// Returns the `(bias, scale)` to pack so that biased sums have the results of plain ones; `None` if there is none.
    pub fn biased(self, scale: f32) -> Option<(i32, f32)> {
        let bias = i64::from(BIAS);
        let constant = || {
            // A constant sum: the result is packed in place of it.
            let value = (self.least as f32 * scale).clamp(0.0, 255.0);
            (self.least == self.most).then(|| (crate::quantized::arithmetic::round_ties_even(value) + BIAS, 1.0))
        };
        let carried = |sum: i64| u32::try_from(bias + sum).ok().filter(|bits| *bits < 0x7f80_0000).map(f32::from_bits);
        let fits = self.least > -bias
            && (self.most < 1 << 23 || (1 << 23) as f32 * scale >= 255.5)
            // Beyond 32 bits the conversion returns the minimum integer.
            && carried(self.most).is_some_and(|most| most * scale < (1 << 30) as f32)
            // No product is below -2^23, where the conversion of WebAssembly's kernels would overflow.
            && scale < 1.0;
        if fits { Some((0, scale)) } else { constant() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantized::arithmetic::round_ties_even;

    /// Result of a biased kernel. f64 models the single rounding of the multiply-add.
    fn biased(sum: i32, scale: f32) -> i32 {
        let carried = f64::from(f32::from_bits((BIAS + sum) as u32));
        let product = (carried * f64::from(scale) - 8_388_608.0 * f64::from(scale)) as f32;
        round_ties_even(product.clamp(-1000.0, 1000.0)).clamp(0, 255)
    }

    #[test]
    fn proven_ranges_give_the_same_results() {
        for (scale, most) in [(0.003, 200_000), (0.0004, 1 << 22), (3.1e-5, (1 << 23) + 5_000_000), (0.9, 900)] {
            let bounds = Bounds { least: -most, most };
            assert_eq!(bounds.biased(scale), Some((0, scale)), "{scale} {most}");
            let step = (most / 50_000).max(1);
            for sum in (-most..=most).step_by(step as usize) {
                let plain = round_ties_even((sum as f32 * scale).clamp(-1000.0, 1000.0)).clamp(0, 255);
                assert_eq!(biased(sum as i32, scale), plain, "{sum} * {scale}");
            }
        }
    }

    #[test]
    fn sums_convert_below_the_conversion_s_limit() {
        let bounds = |most: i64| Bounds { least: -most, most };
        assert!(bounds(1 << 23).convert(100.0));
        assert!(bounds(i64::from(i32::MAX)).convert(0.49));
        assert!(!bounds(i64::from(i32::MAX)).convert(0.51));
        assert!(!bounds(1 << 23).convert(128.0));
    }

    #[test]
    fn rejects_ranges_that_do_not_fit() {
        let symmetric = |most: i64| Bounds { least: -most, most };
        // Sums beyond 2^23 that would not saturate.
        assert_eq!(symmetric((1 << 23) + 1).biased(1e-6), None);
        // Products below -2^23.
        assert_eq!(symmetric(900).biased(1.0), None);
        // Sums so far below that the sign would change.
        assert_eq!(Bounds { least: -i64::from(BIAS), most: 0 }.biased(0.1), None);
        assert_eq!(symmetric(1 << 40).biased(0.1), None);
    }

    #[test]
    fn constant_channels_carry_their_result() {
        let constant = |sum| Bounds { least: sum, most: sum };
        assert_eq!(constant(-(1 << 31)).biased(1e-12), Some((BIAS, 1.0)));
        assert_eq!(constant(1 << 30).biased(1e-7), Some((107 + BIAS, 1.0)));
    }
}
