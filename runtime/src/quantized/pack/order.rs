//! Orders of the channels between an expansion and its projection.
//!
//! Kernels that add products in pairs need an outlier row wherever a pair of weights saturates. The projection sums over
//! these channels in any order, and no other layer reads them, so packing pairs each channel with one whose weights have
//! room for it.

use super::Packing;
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
        self.0.get(position).map_or(position, |bytes| u16::from_le_bytes(*bytes).into())
    }
}

/// Output channels whose weights are compared at once. A panel has about as many.
const SOME: usize = 16;

impl Packing<'_, '_, '_> {
    /// Writes an order of this layer's input channels, 16 bits each: those with the largest weights first, each followed
    /// by the one with the smallest weights that it forms pairs with.
    pub(super) fn choose_order(&self, to: &mut [u8]) {
        let (order, _) = to.as_chunks_mut::<2>();
        self.sort_by_weight(order);
        let channel = |bytes: [u8; 2]| usize::from(u16::from_le_bytes(bytes));
        for first in (0..order.len().saturating_sub(1)).step_by(2) {
            let (heavy, rest) = order[first..].split_at_mut(1);
            let heavy = channel(heavy[0]);
            let (mut partner, mut least) = (rest.len() - 1, usize::MAX);
            for (at, light) in rest.iter().enumerate().rev() {
                let outliers = self.outliers_of_rows(heavy, channel(*light), least);
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
    fn sort_by_weight(&self, order: &mut [[u8; 2]]) {
        let bucket = |channel: usize| {
            let weights = self.weights(channel, 0..self.layer.channels).iter();
            let sum: usize = weights.map(|byte| usize::from(self.number(*byte).unsigned_abs())).sum();
            255 - (2 * sum / self.layer.channels.max(1)).min(255)
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
    fn outliers_of_rows(&self, a: usize, b: usize, most: usize) -> usize {
        let [a, b] = [a, b].map(|channel| self.weights(channel, 0..self.layer.channels).as_chunks::<SOME>());
        // Without an early exit, in vectors.
        let all = |a: &[u8], b: &[u8]| {
            let pairs = a.iter().zip(b).map(|(a, b)| is_pair(self.number(*a), self.number(*b)));
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
