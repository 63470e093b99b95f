//! Limits of a weights file. They bound the time that a malicious file can cost.

/// Maximum length of a header in bytes.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Maximum tensors in a file. Their names and ranges may be compared pair by pair.
pub const MAX_TENSORS: usize = 2048;
/// Maximum metadata entries in a file.
pub const MAX_METADATA: usize = 256;
/// Maximum dimensions of a tensor.
pub const MAX_RANK: usize = 8;
