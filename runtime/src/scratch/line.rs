//! The unit of scratch and packed weights.

/// A cache line of floats. Scratch and packed weights consist of lines, so that they are aligned.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Line(pub(super) [f32; Line::FLOATS]);

const _: () = assert!(size_of::<Line>() == Line::FLOATS * size_of::<f32>());

impl Line {
    /// Floats per line: 64 bytes.
    pub const FLOATS: usize = 16;
    /// A line of zeros.
    pub const ZERO: Self = Self([0.0; Self::FLOATS]);
}

/// The floats of `lines`.
pub fn floats(lines: &[Line]) -> &[f32] {
    // SAFETY: a line is exactly `FLOATS` floats without padding (64 bytes, asserted above).
    unsafe { core::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * Line::FLOATS) }
}

/// The floats of `lines`, to write.
pub fn floats_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `floats`.
    unsafe { core::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * Line::FLOATS) }
}

/// The bytes of `lines`.
pub fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: a line has no padding, and every float is a bit pattern of bytes.
    unsafe { core::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
}

/// The bytes of `lines`, to write.
pub fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as in `bytes`; every bit pattern is a float.
    unsafe { core::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines)) }
}

/// The bytes of `floats`, to write.
pub fn bytes_of_floats(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: floats have no padding, and every bit pattern is one.
    unsafe { core::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
}

/// Views packed bytes as lines; `None` if they are not aligned to 64 or not whole lines.
pub fn lines(bytes: &'static [u8]) -> Option<&'static [Line]> {
    // SAFETY: every bit pattern is a float; `align_to` yields only aligned whole lines.
    let (before, lines, after) = unsafe { bytes.align_to::<Line>() };
    (before.is_empty() && after.is_empty()).then_some(lines)
}

/// Views bytes as lines to write; `None` if they are not aligned to 64 or not whole lines.
pub fn lines_mut(bytes: &mut [u8]) -> Option<&mut [Line]> {
    // SAFETY: as in `lines`; every float is a bit pattern of bytes.
    let (before, lines, after) = unsafe { bytes.align_to_mut::<Line>() };
    (before.is_empty() && after.is_empty()).then_some(lines)
}
