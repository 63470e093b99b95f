//! Memory layouts of weights, by the dot product that reads them.

use super::outliers;

/// Layout of the four weights that are multiplied by four activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotForm {
    /// As bytes, `[lane][4]`.
    Bytes,
    /// As bytes, `[lane][4]`, for activations minus 128.
    SignedBytes,
    /// As bytes in pairs, `[lane][w0, w1]`, then `[lane][w2, w3]`, for activations minus 128.
    SignedPairs,
    /// As 16-bit numbers, even and odd ones separately: `[lane][w0, w2]`, then `[lane][w1, w3]`.
    Words,
}

impl DotForm {
    /// Returns the bytes of a vector's quads of weights.
    pub(crate) fn bytes(self, lanes: usize) -> usize {
        match self {
            Self::Bytes | Self::SignedBytes | Self::SignedPairs => lanes * 4,
            Self::Words => lanes * 8,
        }
    }

    /// Returns part `part` of a weight. A 16-bit weight has one part.
    #[inline(always)]
    pub(crate) fn part(self, weight: i32, part: usize) -> i32 {
        match self {
            Self::Bytes | Self::SignedBytes | Self::SignedPairs => outliers::part(weight, part),
            Self::Words => weight,
        }
    }

    /// Returns the number that is subtracted from activations before they are multiplied. Biases compensate it.
    pub(crate) fn taken(self) -> i32 {
        match self {
            Self::Bytes | Self::Words => 0,
            Self::SignedBytes | Self::SignedPairs => 128,
        }
    }

    /// Writes the quad of a lane.
    #[inline(always)]
    pub(crate) fn put(self, vector: &mut [u8], lane: usize, quad: [i32; 4]) {
        match self {
            Self::Bytes | Self::SignedBytes => {
                vector[lane * 4..][..4].copy_from_slice(&quad.map(|weight| weight as u8));
            }
            Self::SignedPairs => {
                let bytes = quad.map(|weight| weight as u8);
                let (first, last) = vector.split_at_mut(vector.len() / 2);
                first[lane * 2..][..2].copy_from_slice(&bytes[..2]);
                last[lane * 2..][..2].copy_from_slice(&bytes[2..]);
            }
            Self::Words => {
                let words = quad.map(|weight| (weight as i16).to_le_bytes());
                let (even, odd) = vector.split_at_mut(vector.len() / 2);
                even[lane * 4..][..4].copy_from_slice([words[0], words[2]].as_flattened());
                odd[lane * 4..][..4].copy_from_slice([words[1], words[3]].as_flattened());
            }
        }
    }
}
