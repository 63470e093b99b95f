//! The embedded weights.

/// A value that begins at a cache line.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static WEIGHTS: &Aligned<[u8]> = &Aligned(*include_bytes!("weights.bin"));

/// The weights file, or packed weights.
pub fn bytes() -> &'static [u8] {
    &WEIGHTS.0
}
