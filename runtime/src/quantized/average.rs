//! The average over an image, from the sums that kernels computed.

use super::header::pool;
use super::plan::QuantPlan;
use crate::simd::{Area, Src};

/// Averages `CHANNELS` sums of `PIXELS` bytes each, 32-bit integers, into as many bytes.
pub fn average<const PIXELS: usize, const CHANNELS: usize>(
    plan: &QuantPlan<'_>,
    header: Src<'_, u8>,
    sums: Area<'_, u8>,
    to: Area<'_, u8>,
) {
    // Packing has seen that the numbers make a pool.
    let Some(pool) = pool(header, plan.rounding, plan.integer, PIXELS) else { return };
    let low = plan.integer.limits().low;
    let sums = sums.read(0..CHANNELS * 4).as_chunks::<4>().0;
    to.write(0..CHANNELS, |to| {
        for (to, sum) in to.iter_mut().zip(sums) {
            // Bytes are more than the numbers by what the least number is less than 0.
            let sum = i32::from_ne_bytes(*sum) + PIXELS as i32 * low;
            *to = (pool.apply(sum) - low) as u8;
        }
    });
}
