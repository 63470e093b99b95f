//! Memory layouts of weights, by the dot product that reads them.

use super::arithmetic::Integer;
use super::outliers;

/// Quads of a vector of a depthwise layer: three columns for each of the four positions of the rows.
pub(super) const DEPTHWISE_QUADS: usize = 4 * 3;
/// Bytes of a window's weights.
const WINDOW: usize = 20;

/// Layout of the four weights that are multiplied by four activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DotForm {
    /// As bytes, `[lane][4]`.
    Bytes,
    /// As bytes, `[lane][4]`, for products that are added in pairs with saturation to 16 bits. Packing limits the
    /// weights of a pair so that no activations saturate; the excess is outlier weights.
    PairedBytes,
    /// As bytes, `[lane][4]`, for activations minus 128.
    SignedBytes,
    /// As bytes in pairs, `[lane][w0, w1]`, then `[lane][w2, w3]`, for activations minus 128.
    SignedPairs,
    /// As 16-bit numbers, even and odd ones separately: `[lane][w0, w2]`, then `[lane][w1, w3]`.
    Words,
    /// As 16-bit numbers for the fast inner product, with the two weights of each pair swapped: `[lane][w1, w3]`, then
    /// `[lane][w0, w2]`. `x0 * w0 + x1 * w1` is `(x0 + w1) * (x1 + w0)` without `x0 * x1`, which all output
    /// channels of a pixel share, and without `w0 * w1`, which is part of the bias.
    CrossedWords,
    /// As bytes, two for each of a step's lanes, `[w0 of each lane]`, then `[w1 of each lane]`, for pairs of activations
    /// that are stored as 16-bit numbers.
    Pairs,
    /// As 16-bit numbers, for the windows of a depthwise convolution: `[lane]([w00, w20], [w01, w21], [w02, w22], [w10,
    /// w11], [w12, 0])`.
    Windows,
}

impl DotForm {
    /// Returns the products of a step: each lane has as many weights in a vector.
    pub const fn depth(self) -> usize {
        match self {
            Self::Pairs => 2,
            _ => 4,
        }
    }

    /// Returns the bytes of a vector of weights of one step.
    pub const fn bytes(self, lanes: usize) -> usize {
        match self {
            Self::Pairs => lanes * 2,
            Self::Bytes | Self::PairedBytes | Self::SignedBytes | Self::SignedPairs => lanes * 4,
            Self::Words | Self::CrossedWords => lanes * 8,
            Self::Windows => lanes * WINDOW,
        }
    }

    /// Returns the bytes of the weights of a vector of a depthwise convolution.
    pub const fn depthwise_bytes(self, lanes: usize) -> usize {
        match self {
            Self::Windows => self.bytes(lanes),
            _ => DEPTHWISE_QUADS * self.bytes(lanes),
        }
    }

    /// Returns the maximum number of outlier rows of a quad of weights.
    ///
    /// Weights of uint8 networks minus their zero point are from -255 to 255: 255 = 127 + 127 + 1. Two of them add up to
    /// 510 at most, and a pair to 128.
    pub const fn outlier_rows(self, integer: Integer) -> usize {
        match (self, integer) {
            (Self::Bytes | Self::SignedBytes | Self::SignedPairs | Self::Pairs, Integer::Uint8) => 2,
            (Self::PairedBytes, Integer::Int8) => 1,
            (Self::PairedBytes, Integer::Uint8) => 3,
            (Self::Bytes | Self::SignedBytes | Self::SignedPairs | Self::Pairs, Integer::Int8) => 0,
            (Self::Words | Self::CrossedWords | Self::Windows, _) => 0,
        }
    }

    /// Returns part `part` of the weights of a quad. The sum of the parts is the quad; 16-bit weights have one part.
    #[inline(always)]
    pub(crate) fn part(self, [a, b, c, d]: [i32; 4], part: usize) -> [i32; 4] {
        match self {
            Self::Bytes | Self::SignedBytes | Self::SignedPairs | Self::Pairs => {
                let part = |weight| outliers::part(weight, part);
                [part(a), part(b), part(c), part(d)]
            }
            Self::PairedBytes => {
                let ([a, b], [c, d]) = (outliers::pair_part([a, b], part), outliers::pair_part([c, d], part));
                [a, b, c, d]
            }
            Self::Words | Self::CrossedWords | Self::Windows => [a, b, c, d],
        }
    }

    /// Returns the number that is subtracted from activations before they are multiplied. Biases compensate it.
    pub(crate) fn taken(self) -> i32 {
        match self {
            Self::Bytes | Self::PairedBytes | Self::Words | Self::CrossedWords | Self::Pairs | Self::Windows => 0,
            Self::SignedBytes | Self::SignedPairs => 128,
        }
    }

    /// Writes the nine weights of a lane, row by row, in the form of windows.
    pub(crate) fn put_window(vector: &mut [u8], lane: usize, weights: [i16; 9]) {
        const PLACES: [usize; WINDOW / 2] = [0, 6, 1, 7, 2, 8, 3, 4, 5, 9];
        for (to, place) in vector[lane * WINDOW..][..WINDOW].as_chunks_mut().0.iter_mut().zip(PLACES) {
            *to = weights.get(place).copied().unwrap_or(0).to_le_bytes();
        }
    }

    /// Writes the weights of a lane.
    #[inline(always)]
    pub(crate) fn put(self, vector: &mut [u8], lane: usize, quad: [i32; 4]) {
        match self {
            Self::Bytes | Self::PairedBytes | Self::SignedBytes => {
                vector[lane * 4..][..4].copy_from_slice(&quad.map(|weight| weight as u8));
            }
            Self::SignedPairs => {
                let bytes = quad.map(|weight| weight as u8);
                let (first, last) = vector.split_at_mut(vector.len() / 2);
                first[lane * 2..][..2].copy_from_slice(&bytes[..2]);
                last[lane * 2..][..2].copy_from_slice(&bytes[2..]);
            }
            Self::Pairs => {
                let (first, second) = vector.split_at_mut(vector.len() / 2);
                (first[lane], second[lane]) = (quad[0] as u8, quad[1] as u8);
            }
            // Packed as a whole: see `put_window`.
            Self::Windows => {}
            Self::Words | Self::CrossedWords => {
                let words = quad.map(|weight| (weight as i16).to_le_bytes());
                let (first, last) = vector.split_at_mut(vector.len() / 2);
                let (even, odd) = if self == Self::Words { (first, last) } else { (last, first) };
                even[lane * 4..][..4].copy_from_slice([words[0], words[2]].as_flattened());
                odd[lane * 4..][..4].copy_from_slice([words[1], words[3]].as_flattened());
            }
        }
    }
}
