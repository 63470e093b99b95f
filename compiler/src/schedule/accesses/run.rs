//! Byte ranges that repeat at a constant pitch, such as some channels of consecutive pixels.

use std::ops::Range;

/// `count` ranges of `bytes` bytes each, at a pitch of `pitch` bytes, the first from `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First byte.
    pub start: usize,
    /// Bytes of each range, at most `pitch`.
    pub bytes: usize,
    /// Number of ranges.
    pub count: usize,
    /// Bytes from the start of one range to the start of the next.
    pub pitch: usize,
}

impl Run {
    /// Returns a single range.
    pub fn once(start: usize, bytes: usize) -> Self {
        Self { start, bytes, count: 1, pitch: bytes }
    }

    /// Returns the same bytes, merged into a single range if the ranges are contiguous.
    pub fn joined(self) -> Self {
        match self {
            Self { start, bytes, count, pitch } if bytes == pitch || count == 1 => Self::once(start, bytes * count),
            run => run,
        }
    }

    /// Whether the run contains no byte.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 || self.count == 0
    }

    /// Returns the end of the last range, exclusive.
    pub fn end(&self) -> usize {
        self.start + self.count.saturating_sub(1) * self.pitch + self.bytes
    }

    /// Merges two runs if `next` extends each range of this one, or continues after its last range.
    pub fn extended(self, next: Self) -> Option<Self> {
        let alike = self.count == next.count && (self.count == 1 || self.pitch == next.pitch);
        let adjacent = alike && self.start + self.bytes == next.start;
        if adjacent && (self.count == 1 || self.bytes + next.bytes <= self.pitch) {
            return Some(Self { bytes: self.bytes + next.bytes, ..self }.joined());
        }
        let below = self.bytes == next.bytes && self.pitch == next.pitch && self.count > 1 && next.count > 1;
        let follows = self.start + self.count * self.pitch == next.start;
        (below && follows).then(|| Self { count: self.count + next.count, ..self })
    }

    /// Returns the first common byte range.
    pub fn overlap(&self, other: &Self) -> Option<Range<usize>> {
        if self.is_empty() || other.is_empty() || self.end() <= other.start || other.end() <= self.start {
            return None;
        }
        if self.count > 1 && other.count > 1 && self.pitch == other.pitch {
            return self.overlap_of_equal_pitch(other);
        }
        let (few, many) = if self.count <= other.count { (self, other) } else { (other, self) };
        (0..few.count).find_map(|at| many.overlap_of_range(few.start + at * few.pitch, few.bytes))
    }

    /// Returns the first overlap of this run with `bytes` bytes from `start`.
    fn overlap_of_range(&self, start: usize, bytes: usize) -> Option<Range<usize>> {
        let before = (start + 1).saturating_sub(self.start + self.bytes);
        let first = self.start + before.div_ceil(self.pitch.max(1)) * self.pitch;
        let common = start.max(first)..(start + bytes).min(first + self.bytes);
        (before.div_ceil(self.pitch.max(1)) < self.count && common.start < common.end).then_some(common)
    }

    /// Returns the first overlap with a run of the same pitch. The distance of two ranges depends only on the
    /// difference of their indices.
    fn overlap_of_equal_pitch(&self, other: &Self) -> Option<Range<usize>> {
        let signed = |value: usize| value as i64;
        let (distance, pitch) = (signed(other.start) - signed(self.start), signed(self.pitch));
        // Range `i` of this run ends after range `j` of the other begins if `(i - j) * pitch > distance - bytes`.
        let least = (distance - signed(self.bytes)).div_euclid(pitch) + 1;
        let ahead = least.max(1 - signed(other.count));
        if ahead >= signed(self.count) || ahead * pitch >= distance + signed(other.bytes) {
            return None;
        }
        let (here, there) = (ahead.max(0) as usize, (-ahead).max(0) as usize);
        let (from, to) = (self.start + here * self.pitch, other.start + there * other.pitch);
        Some(from.max(to)..(from + self.bytes).min(to + other.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(run: &Run) -> Vec<usize> {
        (0..run.count).flat_map(|at| run.start + at * run.pitch..run.start + at * run.pitch + run.bytes).collect()
    }

    #[test]
    fn overlaps_are_those_of_the_bytes() {
        let runs: Vec<Run> = (0..9)
            .flat_map(|start| [1, 2, 5].map(move |bytes| (start, bytes)))
            .flat_map(|(start, bytes)| [1, 2, 4].map(move |count| (start, bytes, count)))
            .flat_map(|(start, bytes, count)| [5, 7].map(move |pitch| Run { start, bytes, count, pitch }))
            .collect();
        let mut overlapping = 0;
        for a in &runs {
            for b in &runs {
                let (found, [a_bytes, b_bytes]) = (a.overlap(b), [a, b].map(bytes));
                let common = a_bytes.iter().any(|byte| b_bytes.contains(byte));
                assert_eq!(found.is_some(), common, "{a:?} and {b:?}");
                for byte in found.into_iter().flatten() {
                    assert!(a_bytes.contains(&byte) && b_bytes.contains(&byte), "{byte} of {a:?} and {b:?}");
                    overlapping += 1;
                }
                if let Some(both) = a.extended(*b) {
                    let mut expected = [a_bytes, b_bytes].concat();
                    expected.sort_unstable();
                    assert_eq!(bytes(&both), expected, "{a:?} and {b:?}");
                }
            }
        }
        assert!(overlapping > runs.len());
    }
}
