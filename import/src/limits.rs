//! What a file may make us do, by its own size: a file of some kilobytes has no gigabyte of weights.

/// More than width 4 has (56 million).
pub const MAX_PARAMETERS: usize = 1 << 26;
/// More than all weights of width 4 in double precision.
const MAX_UNPACKED: usize = 1 << 30;

/// How far the weights of a network can be packed, if most of them are no zeros; they shrink to a half at best.
const RATIO: usize = 16;

/// Bytes that may be unpacked from a file of `length` bytes. Small files may be mostly structure, which packs better.
pub fn unpacked(length: usize) -> usize {
    length.saturating_mul(RATIO).clamp(1 << 26, MAX_UNPACKED)
}

/// Weights that may be read from a file of `length` bytes. Layers may share tensors, and a hostile file has all layers do so.
pub fn parameters(length: usize) -> usize {
    length.saturating_mul(RATIO).clamp(1 << 20, MAX_PARAMETERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_may_have_all_of_the_largest_network() {
        assert_eq!((unpacked(1000), unpacked(1 << 25), unpacked(usize::MAX)), (1 << 26, 1 << 29, 1 << 30));
        assert_eq!((parameters(1000), parameters(56_000_000), parameters(usize::MAX)), (1 << 20, 1 << 26, 1 << 26));
    }
}
