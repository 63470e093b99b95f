//! Weights that a layer prefetches for the next one.
//!
//! A classifier reads each weight once, for one pixel, so that memory bounds it. The head before it is bound by
//! arithmetic, and leaves the memory idle.

/// Returns the weights that a layer of `macs` multiply-adds can prefetch without waiting. A core reads a cache line
/// from memory in about six cycles. Per cycle it computes at most as many multiply-adds as a line has weights.
pub fn prefetched(macs: usize) -> usize {
    macs / 6
}
