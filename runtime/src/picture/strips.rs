//! The filter across rows with AVX2, bit-exact with the one in plain Rust.
//!
//! A strip of 16 rows is transposed, so that a vector holds the same sample of every row and each weight is multiplied
//! by whole vectors. The columns are transposed just before they are read, while they are in the first-level cache.

use alloc::vec;
use alloc::vec::Vec;

use super::taps::{HALF, PRECISION, Taps};
use crate::Isa;
use crate::simd::bytes::{Bytes, LANES, add_products, narrow, splat, transpose};

/// As `resample::narrowed`. Returns `None` if the processor lacks AVX2, or if the picture has so few rows that the
/// transposed strip would be as large as the picture.
pub fn narrowed<const CHANNELS: usize>(pixels: &[u8], from: usize, taps: &[Taps]) -> Option<Vec<u8>> {
    let has_rows = pixels.len() / (from * CHANNELS) >= 2 * LANES;
    Isa::Avx2.detect().filter(|_| has_rows)?;
    // SAFETY: the processor has AVX2.
    Some(unsafe { strips::<CHANNELS>(pixels, from, taps) })
}

#[target_feature(enable = "avx2")]
fn strips<const CHANNELS: usize>(pixels: &[u8], from: usize, taps: &[Taps]) -> Vec<u8> {
    let (samples, scaled) = (from * CHANNELS, taps.len() * CHANNELS);
    let first = taps.first().map_or(0, |taps| taps.first * CHANNELS);
    let end = taps.last().map_or(0, |taps| taps.end() * CHANNELS);
    let mut columns = vec![[0; LANES]; (end - first).next_multiple_of(LANES)];
    let mut results = vec![[0; LANES]; scaled.next_multiple_of(LANES)];
    let mut narrowed = vec![0; pixels.len() / samples * scaled];
    for (rows, narrowed) in pixels.chunks(LANES * samples).zip(narrowed.chunks_mut(LANES * scaled)) {
        let mut known = 0;
        for (taps, results) in taps.iter().zip(results.chunks_exact_mut(CHANNELS)) {
            while known < taps.end() * CHANNELS - first {
                columns[known..known + LANES].copy_from_slice(&transpose(&block(rows, samples, first + known)));
                known += LANES;
            }
            results.copy_from_slice(&weighted::<CHANNELS>(&columns[taps.first * CHANNELS - first..], &taps.weights));
        }
        for (at, block) in results.as_chunks::<LANES>().0.iter().enumerate() {
            let at = at * LANES;
            for (row, result) in narrowed.chunks_exact_mut(scaled).zip(transpose(block)) {
                let width = LANES.min(scaled - at);
                row[at..at + width].copy_from_slice(&result[..width]);
            }
        }
    }
    narrowed
}

/// The samples `at..at + LANES` of up to 16 rows of `samples` samples. Absent samples and rows are 0.
#[inline]
#[target_feature(enable = "avx2")]
fn block(rows: &[u8], samples: usize, at: usize) -> [Bytes; LANES] {
    let mut block = [[0; LANES]; LANES];
    for (lanes, row) in block.iter_mut().zip(rows.chunks_exact(samples)) {
        match row[at..].first_chunk() {
            Some(whole) => *lanes = *whole,
            None => lanes[..samples - at].copy_from_slice(&row[at..]),
        }
    }
    block
}

/// Weighted sums of pixels, whose channels are `columns`.
#[inline]
#[target_feature(enable = "avx2")]
fn weighted<const CHANNELS: usize>(columns: &[Bytes], weights: &[i32]) -> [Bytes; CHANNELS] {
    let mut sums = [splat(HALF); CHANNELS];
    for (pixel, weight) in columns.as_chunks::<CHANNELS>().0.iter().zip(weights) {
        for (sum, bytes) in sums.iter_mut().zip(pixel) {
            *sum = add_products(*sum, bytes, *weight);
        }
    }
    let mut found = [[0; LANES]; CHANNELS];
    for (found, sum) in found.iter_mut().zip(sums) {
        *found = narrow::<{ PRECISION as i32 }>(sum);
    }
    found
}
