//! Limits of a container, which bound the time that a hostile file can cost.

/// Longest header in bytes.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Most tensors in one file; names and ranges may have to be compared pair by pair.
pub const MAX_TENSORS: usize = 2048;
/// Most metadata entries in one file.
pub const MAX_METADATA: usize = 256;
/// Most dimensions that a tensor may have.
pub const MAX_RANK: usize = 8;
