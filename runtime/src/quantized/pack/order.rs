//! Orders of the channels between an expansion and its projection.
//!
//! Kernels that add products in pairs need an outlier row wherever a pair of weights saturates. The projection sums over
//! these channels in any order, and no other layer reads them, so packing pairs each channel with one whose weights have
//! room for it.

use crate::quantized::outliers::is_pair;

/// The channel of each position, 16 bits each. Empty for the order of the container.
#[derive(Clone, Copy)]
pub struct Positions<'o>(pub &'o [[u8; 2]]);

impl Positions<'_> {
    pub fn is_ordered(self) -> bool {
        !self.0.is_empty()
    }

    #[inline(always)]
    pub fn channel(self, position: usize) -> usize {
        self.0.get(position).map_or(position, |bytes| channel(*bytes))
    }
}

#[inline(always)]
fn channel(bytes: [u8; 2]) -> usize {
    usize::from(u16::from_le_bytes(bytes))
}

/// Output channels whose weights are compared at once. A panel has about as many.
const SOME: usize = 16;

/// The weights of a projection: a row per input channel.
pub struct Rows<'w, N> {
    /// Stored weights, `[input channels][width]`.
    pub stored: &'w [u8],
    /// Output channels.
    pub width: usize,
    /// Converts a stored byte to a weight from -255 to 255.
    pub number: N,
}

impl<'w, N: Fn(u8) -> i16> Rows<'w, N> {
    fn row(&self, channel: usize) -> &'w [u8] {
        &self.stored[channel * self.width..][..self.width]
    }

    /// Writes an order of the input channels, 16 bits each: those with the largest weights first, each followed by the
    /// one with the smallest weights that it forms pairs with.
    pub fn choose(&self, order: &mut [[u8; 2]]) {
        self.sort(order);
        for first in (0..order.len().saturating_sub(1)).step_by(2) {
            let (heavy, rest) = order[first..].split_at_mut(1);
            let heavy = channel(heavy[0]);
            let (mut partner, mut least) = (rest.len() - 1, usize::MAX);
            for (at, light) in rest.iter().enumerate().rev() {
                let outliers = self.outliers(heavy, channel(*light), least);
                if outliers < least {
                    (partner, least) = (at, outliers);
                }
                if least == 0 {
                    break;
                }
            }
            rest[..=partner].rotate_right(1);
        }
    }

    /// Sorts the input channels by the mean magnitude of their weights, in descending order.
    fn sort(&self, order: &mut [[u8; 2]]) {
        let bucket = |channel: usize| {
            let weights = self.row(channel).iter();
            let sum: usize = weights.map(|byte| usize::from((self.number)(*byte).unsigned_abs())).sum();
            255 - (2 * sum / self.width.max(1)).min(255)
        };
        let mut ends = [0; 256];
        for channel in 0..order.len() {
            ends[bucket(channel)] += 1;
        }
        let mut end = 0;
        for place in &mut ends {
            end += *place;
            *place = end;
        }
        for channel in (0..order.len()).rev() {
            let place = &mut ends[bucket(channel)];
            *place -= 1;
            order[*place] = (channel as u16).to_le_bytes();
        }
    }

    /// Returns the number of parts of two rows that have a pair with outliers, or at least `most` if there are more.
    fn outliers(&self, a: usize, b: usize, most: usize) -> usize {
        let [a, b] = [a, b].map(|channel| self.row(channel).as_chunks::<SOME>());
        // No early exit, so that the loop is vectorized.
        let all = |a: &[u8], b: &[u8]| {
            let pairs = a.iter().zip(b).map(|(a, b)| is_pair((self.number)(*a), (self.number)(*b)));
            pairs.fold(true, |all, pair| all & pair)
        };
        let mut count = usize::from(!all(a.1, b.1));
        for (a, b) in a.0.iter().zip(b.0) {
            if count >= most {
                break;
            }
            count += usize::from(!all(a, b));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn rows(stored: &[u8], width: usize) -> Rows<'_, impl Fn(u8) -> i16> {
        Rows { stored, width, number: |byte: u8| i16::from(byte.cast_signed()) }
    }

    fn chosen(rows: &Rows<'_, impl Fn(u8) -> i16>, channels: usize) -> Vec<usize> {
        let mut order = vec![[0; 2]; channels];
        rows.choose(&mut order);
        order.into_iter().map(channel).collect()
    }

    #[test]
    fn large_weights_are_next_to_small_ones() {
        // Two rows of large weights of one sign, two of small ones, and one left over.
        let stored = [100, 100, 90, 90, 60, 20, 10, 10, 50, 50].map(|weight: i8| weight.cast_unsigned());
        assert_eq!(chosen(&rows(&stored, 2), 5), [0, 3, 1, 2, 4]);
        assert_eq!(chosen(&rows(&stored, 2), 1), [0]);
        assert_eq!(chosen(&rows(&[], 2), 0), [0; 0]);
    }

    #[test]
    fn an_order_is_a_permutation_with_fewer_outliers() {
        const CHANNELS: usize = 96;
        const WIDTH: usize = 40;
        let mut state = 5_u32;
        let stored: Vec<u8> = (0..CHANNELS * WIDTH)
            .map(|_| {
                // Sums of three numbers: few are large, as in trained networks.
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as i32 % 85 - 42
                };
                ((next() + next() + next()) as i8).cast_unsigned()
            })
            .collect();
        let rows = rows(&stored, WIDTH);
        let order = chosen(&rows, CHANNELS);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..CHANNELS));
        let outliers = |order: &[usize]| -> usize {
            order.as_chunks::<2>().0.iter().map(|[a, b]| rows.outliers(*a, *b, usize::MAX)).sum()
        };
        let (natural, chosen) = (outliers(&(0..CHANNELS).collect::<Vec<_>>()), outliers(&order));
        assert!(4 * chosen < natural, "{chosen} of {natural}");
    }
}
