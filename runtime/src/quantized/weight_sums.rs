//! Sums of the weights of each channel. Its bias and the bounds of its sums depend on them.

/// Sums of a channel's negative and of its positive weights. 32 bits hold 8 million weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    pub below: i32,
    pub above: i32,
}

impl Reach {
    pub fn sum(self) -> i32 {
        self.below.wrapping_add(self.above)
    }
}

/// Sums of adjacent channels: weights are read row by row, as they are stored.
pub struct Sums {
    below: [i32; Self::CHANNELS],
    above: [i32; Self::CHANNELS],
}

impl Sums {
    /// A cache line of a row.
    pub const CHANNELS: usize = 64;

    /// Sums of rows with one weight per channel. `number` converts a stored byte to a weight from -255 to 255.
    pub fn new<R: Iterator<Item = u8>>(rows: impl Iterator<Item = R>, number: impl Fn(u8) -> i16) -> Self {
        let mut sums = Self { below: [0; Self::CHANNELS], above: [0; Self::CHANNELS] };
        // The most rows that 16-bit sums can hold, which take half of the time of 32-bit sums.
        const ROWS: usize = 128;
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut below = [0_i16; Self::CHANNELS];
            let mut above = [0_i16; Self::CHANNELS];
            for row in rows.by_ref().take(ROWS) {
                for ((below, above), byte) in below.iter_mut().zip(&mut above).zip(row) {
                    let weight = number(byte);
                    *below += weight.min(0);
                    *above += weight.max(0);
                }
            }
            for (sums, parts) in [(&mut sums.below, below), (&mut sums.above, above)] {
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum = sum.wrapping_add(part.into()));
            }
        }
        sums
    }

    pub fn channels(&self) -> impl Iterator<Item = Reach> {
        self.below.iter().zip(&self.above).map(|(below, above)| Reach { below: *below, above: *above })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_all_rows() {
        // More rows than 16-bit sums can hold, and fewer channels than a cache line.
        let rows: [[u8; 3]; 300] = core::array::from_fn(|row| [0, 255, (row % 251) as u8]);
        let sums = Sums::new(rows.iter().map(|row| row.iter().copied()), |byte| i16::from(byte) - 128);
        let found: [Reach; 4] = core::array::from_fn(|at| sums.channels().nth(at).unwrap_or_default());
        let last = (0..300).map(|row| row % 251 - 128);
        let last = Reach { below: last.clone().map(|w| w.min(0)).sum(), above: last.map(|w| w.max(0)).sum() };
        let first = Reach { below: -128 * 300, above: 0 };
        assert_eq!(found, [first, Reach { below: 0, above: 127 * 300 }, last, Reach::default()]);
        assert_eq!(first.sum(), -38_400);
    }
}
