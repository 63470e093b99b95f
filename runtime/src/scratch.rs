//! Memory of a network: the scratch of a call, and the packed weights.

pub(crate) mod line;
#[cfg(feature = "alloc")]
mod pages;

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, sync::Arc};

pub use line::{Line, bytes, bytes_mut, bytes_of_floats, floats, floats_mut, lines, lines_mut};
#[cfg(feature = "alloc")]
pub use pages::Pages;

use crate::number::Number;

/// Bytes aligned to 64, as packed weights must be: `&Aligned(*include_bytes!(...))`.
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

/// Memory for the intermediate values of one call: `LINES` cache lines.
///
/// Create it as a `static` with [`Scratch::new`], or on the heap with [`Scratch::boxed`]. By value it would overflow a
/// small stack.
#[repr(transparent)]
pub struct Scratch<const LINES: usize>([Line; LINES]);

impl<const LINES: usize> Scratch<LINES> {
    /// All zeros. A `static` takes no space in the binary.
    #[expect(clippy::new_without_default, reason = "a default by value invites a stack overflow")]
    pub const fn new() -> Self {
        Self([Line::ZERO; LINES])
    }

    /// Allocates a scratch on the heap without a copy on the stack.
    #[cfg(feature = "alloc")]
    pub fn boxed() -> Box<Self> {
        let layout = core::alloc::Layout::new::<Self>();
        if layout.size() == 0 {
            return Box::new(Self::new());
        }
        // SAFETY: the layout is not empty, zeros are valid floats, and the box frees the memory with the same layout.
        unsafe {
            let memory = alloc::alloc::alloc_zeroed(layout).cast::<Self>();
            if memory.is_null() {
                alloc::alloc::handle_alloc_error(layout);
            }
            Box::from_raw(memory)
        }
    }

    /// Returns all of it, for [`Network::run_into`](crate::Network::run_into).
    pub fn floats_mut(&mut self) -> &mut [f32] {
        floats_mut(&mut self.0)
    }

    /// Returns all of it, for networks of `T`.
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
    /// Returns the packed block as cache lines.
    #[inline]
    pub fn lines(&self) -> &[Line] {
        match self {
            #[cfg(feature = "alloc")]
            Self::Owned(lines) => lines,
            Self::Borrowed(lines) => lines,
        }
    }

    /// Returns the packed block as floats.
    #[inline]
    pub fn floats(&self) -> &[f32] {
        floats(self.lines())
    }
}
