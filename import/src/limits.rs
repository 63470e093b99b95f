//! Limits on allocation and work, in proportion to the size of the file.

/// Most parameters of a network; width 4 has 56 million.
pub const MAX_PARAMETERS: usize = 1 << 26;
/// Most bytes to unpack, above all weights of width 4 in double precision.
const MAX_UNPACKED: usize = 1 << 30;

/// Highest plausible compression ratio; trained weights compress to a half at best.
const RATIO: usize = 16;

/// Returns how many bytes may be unpacked from a file of `length` bytes. Small files are mostly structure, which
/// compresses better.
pub fn unpacked(length: usize) -> usize {
    length.saturating_mul(RATIO).clamp(1 << 26, MAX_UNPACKED)
}

/// Returns how many weights may be read from a file of `length` bytes. Layers may share tensors, so a hostile file could
/// use one tensor in every layer.
pub fn parameters(length: usize) -> usize {
    length.saturating_mul(RATIO).clamp(1 << 20, MAX_PARAMETERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_the_file_up_to_the_largest_network() {
        assert_eq!((unpacked(1000), unpacked(1 << 25), unpacked(usize::MAX)), (1 << 26, 1 << 29, 1 << 30));
        assert_eq!((parameters(1000), parameters(56_000_000), parameters(usize::MAX)), (1 << 20, 1 << 26, 1 << 26));
    }
}
