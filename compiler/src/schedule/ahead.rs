//! Weights that a layer prefetches for the next one.
//!
//! A classifier reads each weight once, for one pixel, so that memory bounds it. The head before it is bound by
//! arithmetic, and leaves the memory idle. Prefetching more than memory delivers in that time
//! delays the head.

/// Returns the number of weights that a layer of `macs` multiply-adds can prefetch without waiting, on processors that
/// compute one vector of multiply-adds per cycle. A core reads a cache line in about six cycles. Per cycle it computes at
/// most as many multiply-adds as a line has weights.
///
/// For the fast inner product, which only Zen 4 runs, and for quantized layers.
pub fn prefetched(macs: usize) -> usize {
    macs / 6
}

/// Like [`prefetched`], for processors that compute two vectors of `lanes` multiply-adds per cycle. On an Intel Xeon a core
/// reads a cache line of sixteen floats in about eight cycles. The `weights` weights of the layer itself take a part of that.
///
/// For plain products: those of all processors, for some of which this is less than possible.
pub fn prefetched_with_two_ports(lanes: usize, macs: usize, weights: usize) -> usize {
    (macs / lanes).saturating_sub(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ports_leave_less_time_for_the_classifier() {
        const CLASSIFIER: usize = 1280 * 1001;
        let (macs, weights) = (7 * 7 * 320 * 1280, 320 * 1280);
        assert!(prefetched(macs) > CLASSIFIER, "all of it");
        let with_avx512 = prefetched_with_two_ports(16, macs, weights);
        assert!((CLASSIFIER / 2..CLASSIFIER * 3 / 4).contains(&with_avx512), "{with_avx512}");
        assert!(prefetched_with_two_ports(8, macs, weights) > CLASSIFIER, "all of it in twice the time");
    }
}
