//! Checksum of packed files. It detects accidental corruption, not tampering.

/// Bytes that a step of the checksum reads.
const STRIDE: usize = 32;
/// Prime of the 64-bit FNV hash.
const PRIME: u64 = 0x0100_0000_01b3;

/// A checksum of byte slices, one after the other, in four independent lanes, which a processor computes in parallel.
#[derive(Debug, Clone, Copy)]
pub struct Checksum([u64; 4]);

impl Checksum {
    pub fn new() -> Self {
        Self([1, 2, 3, 4].map(|lane: u64| lane.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Adds `bytes` and their length. The last step is padded with zeros.
    pub fn add(mut self, bytes: &[u8]) -> Self {
        let (steps, rest) = bytes.as_chunks::<STRIDE>();
        steps.iter().for_each(|step| self.step(step));
        let mut last = [0; STRIDE];
        last[..rest.len()].copy_from_slice(rest);
        self.step(&last);
        self.0[0] = mix(self.0[0], bytes.len() as u64);
        self
    }

    fn step(&mut self, step: &[u8; STRIDE]) {
        let (words, _) = step.as_chunks::<8>();
        for (lane, word) in self.0.iter_mut().zip(words) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }

    /// Returns the sum of all bytes added.
    pub fn finish(self) -> u32 {
        let all = self.0.into_iter().fold(0, mix);
        (all ^ (all >> 32)) as u32
    }
}

/// Invertible in both arguments, so that a change of one word always changes the lane.
fn mix(lane: u64, word: u64) -> u64 {
    (lane ^ word).wrapping_mul(PRIME).rotate_left(29)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn of(bytes: &[u8]) -> u32 {
        Checksum::new().add(bytes).finish()
    }

    #[test]
    fn every_flipped_bit_changes_it() {
        let mut bytes: Vec<u8> = (0..200u32).map(|at| (at * 37 % 251) as u8).collect();
        let sum = of(&bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&bytes), sum, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(of(&bytes), sum);
    }

    #[test]
    fn exchanged_and_missing_parts_change_it() {
        let zeros = [0u8; 100];
        assert_ne!(of(&zeros[..64]), of(&zeros[..96]));
        assert_ne!(of(&zeros[..1]), of(&zeros[..2]));
        let (mut one, mut other) = ([0u8; 64], [0u8; 64]);
        (one[0], other[32]) = (1, 1);
        assert_ne!(of(&one), of(&other));
        let split = Checksum::new().add(&one[..32]).add(&one[32..]).finish();
        assert_ne!(split, Checksum::new().add(&one[32..]).add(&one[..32]).finish());
    }
}
