//! Memory that a network works in: the scratch of a call, and the packed weights.

#[cfg(feature = "alloc")]
mod pages;

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, sync::Arc};

#[cfg(feature = "alloc")]
pub use pages::Pages;

use crate::number::Number;

/// A cache line of floats; what is packed is made of these, so that it is aligned.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Line([f32; Line::FLOATS]);

impl Line {
    /// Floats of a line: 64 bytes.
    pub const FLOATS: usize = 16;
    /// Sixteen zeros.
    pub const ZERO: Self = Self([0.0; Self::FLOATS]);
}

/// Bytes at a multiple of 64, as packed weights have to lie: `&Aligned(*include_bytes!(...))`.
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

/// The floats of `lines`.
pub fn floats(lines: &[Line]) -> &[f32] {
    // SAFETY: a line is exactly `FLOATS` floats without padding (64 bytes, asserted below).
    unsafe { core::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * Line::FLOATS) }
}

/// The floats of `lines`, to write.
pub fn floats_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `floats`.
    unsafe { core::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * Line::FLOATS) }
}

const _: () = assert!(size_of::<Line>() == Line::FLOATS * size_of::<f32>());

/// What one call of a network writes between its input and its output, `LINES` cache lines.
///
/// Make it a `static` with [`Scratch::new`], or on the heap with [`Scratch::boxed`]; by value it
/// would overflow a small stack.
#[repr(transparent)]
pub struct Scratch<const LINES: usize>([Line; LINES]);

impl<const LINES: usize> Scratch<LINES> {
    /// All zeros; a `static` of them takes no room in the binary.
    #[expect(clippy::new_without_default, reason = "a default by value invites a stack overflow")]
    pub const fn new() -> Self {
        Self([Line::ZERO; LINES])
    }

    /// A scratch on the heap, never on the stack.
    #[cfg(feature = "alloc")]
    pub fn boxed() -> Box<Self> {
        let layout = core::alloc::Layout::new::<Self>();
        if layout.size() == 0 {
            return Box::new(Self::new());
        }
        // SAFETY: the layout is not empty; a zeroed float is a float; the box frees with the same layout.
        unsafe {
            let memory = alloc::alloc::alloc_zeroed(layout).cast::<Self>();
            if memory.is_null() {
                alloc::alloc::handle_alloc_error(layout);
            }
            Box::from_raw(memory)
        }
    }

    /// All of it, as [`Network::run_into`](crate::Network::run_into) takes it.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        floats_mut(&mut self.0)
    }

    /// All of it, as networks of `T` take it.
    pub fn elements_mut<T: Number>(&mut self) -> &mut [T::Element] {
        T::elements(self.floats_mut())
    }
}

/// Packed weights: owned, or in place in a binary.
#[derive(Debug, Clone)]
pub enum Packed {
    /// Shared by the clones of a model.
    #[cfg(feature = "alloc")]
    Owned(Arc<Pages>),
    /// A packed file that lives as long as the program.
    Borrowed(&'static [Line]),
}

impl Packed {
    /// The block, in cache lines.
    #[inline]
    pub fn lines(&self) -> &[Line] {
        match self {
            #[cfg(feature = "alloc")]
            Self::Owned(lines) => lines,
            Self::Borrowed(lines) => lines,
        }
    }

    /// The block, as kernels of floats read it.
    #[inline]
    pub fn floats(&self) -> &[f32] {
        floats(self.lines())
    }
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
