//! The image that host and target classify, red, green, blue.

/// Stripes that differ in every channel.
pub fn pixels<const BYTES: usize>() -> [u8; BYTES] {
    core::array::from_fn(|at| (at * 37 + at / 96 * 11) as u8)
}
