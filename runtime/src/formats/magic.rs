//! Magic numbers of files.

/// First bytes of a packed file.
pub const PACKED: [u8; 8] = *b"MBVCPACK";

/// Whether a file that starts with `start` is a packed file.
pub fn is_packed(start: &[u8]) -> bool {
    start.starts_with(&PACKED)
}
