//! Pillow's bilinear resize, to the bit: scores then equal those of a Python program to the last digit shown.
//!
//! A triangle filter, as wide as the reduction, along each axis in turn: columns first, rounded to bytes in between,
//! with weights in fixed point (Pillow's `Resample.c`). Pillow 13 takes the rows of tall images first, which changes
//! some samples by one; here the order is always that of the versions before.

/// Bits after the point of a weight: a sum of bytes times weights fits in 32 bits, with a sign and a bit to spare.
const PRECISION: u32 = 32 - 8 - 2;

/// Resizes RGB bytes, row by row, `from` and `to` being `[height, width]`; no side may be 0.
pub fn bilinear(pixels: Vec<u8>, from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    let ([from_height, from_width], [height, width]) = (from, to);
    let narrow = if from_width == width { pixels } else { columns(&pixels, from_height, from_width, width) };
    if from_height == height { narrow } else { rows(&narrow, from_height, width, height) }
}

/// The samples that make one new sample: where they start, and their weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    // Enlarged, a sample lies between its two neighbours; reduced, all that it covers counts.
    let support = scale.max(1.0);
    (0..to)
        .map(|at| {
            let center = (at as f64 + 0.5) * scale;
            // The casts cut towards zero, and stop at it.
            let first = (center - support + 0.5) as usize;
            let last = ((center + support + 0.5) as usize).min(from);
            let triangle = |sample: usize| (1.0 - ((sample as f64 - center + 0.5) / support).abs()).max(0.0);
            let weights: Vec<f64> = (first..last).map(triangle).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: f64| (0.5 + weight / sum * f64::from(1 << PRECISION)) as i32;
            Taps { first, weights: weights.into_iter().map(fixed).collect() }
        })
        .collect()
}

fn columns(pixels: &[u8], height: usize, from: usize, to: usize) -> Vec<u8> {
    let taps = taps(from, to);
    let mut narrow = Vec::with_capacity(height * to * 3);
    for row in pixels.chunks_exact(from * 3) {
        for Taps { first, weights } in &taps {
            let mut sums = [HALF; 3];
            for (pixel, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*sample) * weight;
                }
            }
            narrow.extend(sums.map(byte));
        }
    }
    narrow
}

fn rows(pixels: &[u8], from: usize, width: usize, to: usize) -> Vec<u8> {
    let mut low = Vec::with_capacity(to * width * 3);
    let mut sums = vec![0; width * 3];
    for Taps { first, weights } in taps(from, to) {
        sums.fill(HALF);
        for (row, weight) in pixels.chunks_exact(width * 3).skip(first).zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(*sample) * weight;
            }
        }
        low.extend(sums.iter().copied().map(byte));
    }
    low
}

const HALF: i32 = 1 << (PRECISION - 1);

fn byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_stays_one_colour() {
        for (from, to) in [([7, 5], [3, 11]), ([1, 1], [4, 4]), ([300, 2], [1, 1])] {
            let pixels = [9, 128, 255].repeat(from[0] * from[1]);
            assert_eq!(bilinear(pixels, from, to), [9, 128, 255].repeat(to[0] * to[1]), "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_half_is_the_weighted_mean_of_what_it_covers() {
        // Four columns to two: the first covers columns 0 to 2 with weights 3, 3, 1 of 7.
        let pixels = [70, 0, 0, 140, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        assert_eq!(bilinear(pixels, [1, 4], [1, 2])[..3], [90, 0, 0]);
    }
}
