//! The average over an image, computed from the sums of kernels.

use super::header::pool;
use super::plan::QuantPlan;
use crate::simd::{Area, Src};

/// Averages `CHANNELS` 32-bit sums of `PIXELS` bytes each, to `CHANNELS` bytes.
pub fn average<const PIXELS: usize, const CHANNELS: usize>(
    plan: &QuantPlan<'_>,
    header: Src<'_, u8>,
    sums: Area<'_, u8>,
    to: Area<'_, u8>,
) {
    // Packing has checked that the numbers are a valid pool.
    let Some(pool) = pool(header, plan.rounding, plan.integer, PIXELS) else { return };
    let low = plan.integer.limits().low;
    let sums = sums.read(0..CHANNELS * 4).as_chunks::<4>().0;
    to.write(0..CHANNELS, |to| {
        for (to, sum) in to.iter_mut().zip(sums) {
            // Bytes exceed the numbers by the negated minimum of the type.
            let sum = i32::from_ne_bytes(*sum).wrapping_add(PIXELS as i32 * low);
            *to = (pool.apply(sum) - low) as u8;
        }
    });
}
