//! Resampling that is bit-exact with Pillow's, so that scores equal those of a Python program.
//!
//! The axes are filtered one after the other with fixed-point weights: columns first, rounded to bytes in between
//! (Pillow's `Resample.c`). Pillow 13 filters the rows of tall images first, which changes some samples by one; this
//! module keeps the order of earlier versions.

use alloc::vec;
use alloc::vec::Vec;

use super::filter::Filter;
#[cfg(target_arch = "x86_64")]
use super::strips;
use super::taps::{HALF, PRECISION, Taps, taps};

/// A part of a scaled picture.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Rows above the part, and columns to its left.
    pub first: [usize; 2],
    /// `[height, width]`.
    pub size: [usize; 2],
}

/// Pixels of `CHANNELS` samples, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a, const CHANNELS: usize> {
    pub pixels: &'a [u8],
    /// `[height, width]`, both at least 1.
    pub size: [usize; 2],
}

/// The pixels `[height, width, CHANNELS]` of a part of `picture` after it is scaled to `scaled`, `[height, width]`.
pub fn resample<const CHANNELS: usize>(
    picture: Samples<'_, CHANNELS>,
    filter: Filter,
    scaled: [usize; 2],
    part: Part,
) -> Vec<u8> {
    let [height, width] = picture.size;
    let ([top, left], [rows, columns]) = (part.first, part.size);
    let across = taps(filter, width, scaled[1], left, columns);
    let down = taps(filter, height, scaled[0], top, rows);
    // Rows that no result depends on are left out: those of a crop.
    let first = down.first().map_or(0, |taps| taps.first);
    let end = down.last().map_or(0, Taps::end);
    let pixels = &picture.pixels[first * width * CHANNELS..end * width * CHANNELS];
    #[cfg(target_arch = "x86_64")]
    let narrow = strips::narrowed::<CHANNELS>(pixels, width, &across);
    #[cfg(not(target_arch = "x86_64"))]
    let narrow: Option<Vec<u8>> = None;
    let narrow = narrow.unwrap_or_else(|| narrowed::<CHANNELS>(pixels, width, &across));
    lowered(&narrow, columns * CHANNELS, &down, first)
}

/// Filters the rows of `pixels`, which have `from` pixels each.
fn narrowed<const CHANNELS: usize>(pixels: &[u8], from: usize, taps: &[Taps]) -> Vec<u8> {
    let mut narrow = Vec::with_capacity(pixels.len() / from * taps.len());
    for row in pixels.chunks_exact(from * CHANNELS) {
        for Taps { first, weights } in taps {
            let mut sums = [HALF; CHANNELS];
            for (pixel, weight) in row.chunks_exact(CHANNELS).skip(*first).zip(weights) {
                for (sum, sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*sample) * weight;
                }
            }
            narrow.extend(sums.map(byte));
        }
    }
    narrow
}

/// Combines rows of `samples` samples; `pixels` starts with the row `skipped`.
fn lowered(pixels: &[u8], samples: usize, taps: &[Taps], skipped: usize) -> Vec<u8> {
    let mut low = Vec::with_capacity(taps.len() * samples);
    let mut sums = vec![0; samples];
    for Taps { first, weights } in taps {
        sums.fill(HALF);
        for (row, weight) in pixels.chunks_exact(samples).skip(first - skipped).zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(*sample) * weight;
            }
        }
        low.extend(sums.iter().copied().map(byte));
    }
    low
}

fn byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(pixels: &[u8], from: [usize; 2], to: [usize; 2], filter: Filter) -> Vec<u8> {
        resample(Samples::<3> { pixels, size: from }, filter, to, Part { first: [0, 0], size: to })
    }

    const FILTERS: [Filter; 4] = [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::BilinearAliased];

    #[test]
    fn a_uniform_picture_stays_uniform() {
        for filter in FILTERS {
            for (from, to) in [([7, 5], [3, 11]), ([1, 1], [4, 4]), ([300, 2], [1, 1])] {
                let pixels = [9, 128, 255].repeat(from[0] * from[1]);
                let found = whole(&pixels, from, to, filter);
                assert_eq!(found, [9, 128, 255].repeat(to[0] * to[1]), "{filter} {from:?} {to:?}");
            }
        }
    }

    #[test]
    fn a_reduced_sample_is_the_weighted_mean_of_the_samples_it_covers() {
        // Four columns to two: the first covers columns 0 to 2 with weights 3, 3, 1 of 7.
        let pixels = [70, 0, 0, 140, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(whole(&pixels, [1, 4], [1, 2], Filter::Bilinear)[..3], [90, 0, 0]);
        // The mean of the two nearest columns, 0 and 1.
        assert_eq!(whole(&pixels, [1, 4], [1, 2], Filter::BilinearAliased)[..3], [105, 0, 0]);
        assert_eq!(whole(&pixels, [1, 4], [1, 2], Filter::Nearest)[..3], [140, 0, 0]);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn strips_equal_rows() {
        if crate::Isa::Avx2.detect().is_none() {
            return;
        }
        fn check<const CHANNELS: usize>(filter: Filter, [rows, from]: [usize; 2], [to, skip, count]: [usize; 3]) {
            let pixels: Vec<u8> = (0..rows * from * CHANNELS).map(|at| ((at * at * 11) >> 3) as u8).collect();
            let taps = taps(filter, from, to, skip, count);
            let expected = narrowed::<CHANNELS>(&pixels, from, &taps);
            assert!(
                strips::narrowed::<CHANNELS>(&pixels, from, &taps).unwrap() == expected,
                "{filter}, {rows} rows of {from} to {to}, {CHANNELS} channels"
            );
        }
        for filter in FILTERS {
            for (size, scaled) in [
                ([32, 1], [1, 0, 1]),
                ([33, 5], [3, 0, 3]),
                ([47, 40], [224, 0, 224]),
                ([48, 301], [64, 9, 40]),
                ([63, 97], [97, 5, 33]),
                ([35, 1000], [2, 1, 1]),
            ] {
                check::<1>(filter, size, scaled);
                check::<3>(filter, size, scaled);
            }
        }
        let wide = taps(Filter::Bilinear, 9, 3, 0, 3);
        assert_eq!(strips::narrowed::<1>(&[7; 31 * 9], 9, &wide), None, "a strip is at most half of a picture");
    }

    #[test]
    fn gray_pixels_are_scaled_like_each_color() {
        let gray: Vec<u8> = (0..13 * 7).map(|at| (at * at * 5 % 253) as u8).collect();
        let colors: Vec<u8> = gray.iter().flat_map(|sample| [*sample; 3]).collect();
        for filter in FILTERS {
            let part = Part { first: [0, 0], size: [9, 4] };
            let found = resample(Samples::<1> { pixels: &gray, size: [13, 7] }, filter, [9, 4], part);
            let found: Vec<u8> = found.into_iter().flat_map(|sample| [sample; 3]).collect();
            assert_eq!(found, whole(&colors, [13, 7], [9, 4], filter), "{filter}");
        }
    }

    #[test]
    fn a_part_equals_a_crop_of_the_whole() {
        let [height, width] = [9, 14];
        let pixels: Vec<u8> = (0..height * width * 3).map(|at| (at * at * 7 % 251) as u8).collect();
        let picture = Samples::<3> { pixels: &pixels, size: [height, width] };
        for filter in FILTERS {
            let scaled = [21, 6];
            let whole = whole(&pixels, [height, width], scaled, filter);
            let (first, size) = ([3, 2], [11, 3]);
            let part = resample(picture, filter, scaled, Part { first, size });
            for (row, found) in part.chunks_exact(size[1] * 3).enumerate() {
                let at = ((first[0] + row) * scaled[1] + first[1]) * 3;
                assert_eq!(found, &whole[at..at + size[1] * 3], "{filter}, row {row}");
            }
        }
    }
}
