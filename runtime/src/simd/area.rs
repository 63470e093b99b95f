//! Memory that the threads of a team share for writing: the scratch of a call, and its output.
//!
//! No thread can hold it as an exclusive slice, so an area is a pointer that all of them copy. As with `Src` and `Dst`,
//! offsets are literals that the compiler planned and verified, and bounds are checked in debug builds only. Between
//! two barriers no thread accesses a number that another one writes: the compiler assigns disjoint places to values
//! that are written at the same time, and emits a barrier before one thread reads what another wrote.

use core::marker::PhantomData;
use core::ops::Range;

use super::{Dst, Src};
use crate::bf16::Bf16;

/// Numbers that a team shares: floats, or the bytes of quantized networks.
///
/// Like [`Src`], an area cannot be created in safe code:
///
/// ```compile_fail,E0133
/// #![forbid(unsafe_code)]
/// mbvc_runtime::Area::new(&mut [0.0; 16]).clear(0..1 << 44);
/// ```
#[derive(Clone, Copy)]
pub struct Area<'a, T = f32> {
    pointer: *mut T,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: an area is an exclusive slice of numbers, which may be sent to another thread; `new` requires that the
// threads that share it do not race.
unsafe impl<T: Send> Send for Area<'_, T> {}
// SAFETY: as above; an area has no state besides the numbers.
unsafe impl<T: Send> Sync for Area<'_, T> {}

impl<'a, T: Copy + Default> Area<'a, T> {
    /// Shares all of a slice.
    ///
    /// # Safety
    /// Every access through this area, and through every area or view that is derived from it, must stay within the
    /// slice. No access to a number may happen at the same time as a write of it by another thread. A number that is
    /// borrowed by [`read`](Self::read) must not be written during the borrow, and one that is borrowed by
    /// [`write`](Self::write) must not be accessed in any other way. The contract for tile registers is that of [`Src`]'s module.
    #[inline(always)]
    pub unsafe fn new(slice: &'a mut [T]) -> Self {
        // SAFETY: the caller guarantees what `from_raw` requires; the slice is borrowed exclusively.
        unsafe { Self::from_raw(slice) }
    }

    /// Shares a slice that is borrowed exclusively for `'a`, without borrowing it again.
    ///
    /// # Safety
    /// As [`new`](Self::new).
    #[inline(always)]
    pub(crate) unsafe fn from_raw(slice: *mut [T]) -> Self {
        Self {
            pointer: slice.cast(),
            #[cfg(debug_assertions)]
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// Returns the area of the numbers of `range`.
    #[inline(always)]
    pub fn part(self, range: Range<usize>) -> Self {
        Self {
            pointer: self.address(range.start, range.len()),
            #[cfg(debug_assertions)]
            len: range.len(),
            life: PhantomData,
        }
    }

    /// Returns the area without its first `offset` numbers.
    #[inline(always)]
    pub fn at(self, offset: usize) -> Self {
        Self {
            pointer: self.address(offset, 0),
            #[cfg(debug_assertions)]
            len: self.len - offset,
            life: PhantomData,
        }
    }

    /// Returns a view for reading from `offset`.
    #[inline(always)]
    pub fn src(self, offset: usize) -> Src<'a, T> {
        let area = self.at(offset);
        Src::from_raw(
            area.pointer,
            #[cfg(debug_assertions)]
            area.len,
        )
    }

    /// Returns a view for writing from `offset`.
    #[inline(always)]
    pub fn dst(self, offset: usize) -> Dst<'a, T> {
        let area = self.at(offset);
        Dst::from_raw(
            area.pointer,
            #[cfg(debug_assertions)]
            area.len,
        )
    }

    /// Returns the numbers of `range`, which no thread writes during the borrow.
    #[inline(always)]
    pub fn read(self, range: Range<usize>) -> &'a [T] {
        // SAFETY: the area's constructor requires that the range is in the slice, which debug builds check, and that
        // nothing writes it during the borrow.
        unsafe { core::slice::from_raw_parts(self.address(range.start, range.len()), range.len()) }
    }

    /// Calls `write` with the numbers of `range`, which nothing else accesses during the call.
    #[inline(always)]
    pub fn write(self, range: Range<usize>, write: impl FnOnce(&mut [T])) {
        // SAFETY: as in `read`; the borrow ends with the call, and nothing else accesses the numbers during it.
        write(unsafe { core::slice::from_raw_parts_mut(self.address(range.start, range.len()), range.len()) });
    }

    /// Zeroes the numbers of `range`.
    #[inline]
    pub fn clear(self, range: Range<usize>) {
        self.write(range, |numbers| numbers.fill(T::default()));
    }

    /// Copies the first `len` numbers of another area, which does not overlap this one.
    #[inline]
    pub fn copy(self, from: Area<'_, T>, len: usize) {
        self.write(0..len, |numbers| numbers.copy_from_slice(from.read(0..len)));
    }

    /// Returns the address of `count` numbers from `offset`.
    #[inline(always)]
    fn address(self, offset: usize, count: usize) -> *mut T {
        #[cfg(debug_assertions)]
        super::view::check(self.len, offset, count);
        let _ = count;
        self.pointer.wrapping_add(offset)
    }
}

impl<'a> Area<'a> {
    /// Returns the same memory as bf16 numbers, two for each float.
    #[inline(always)]
    pub fn bf16(self) -> Area<'a, Bf16> {
        Area {
            pointer: self.pointer.cast(),
            #[cfg(debug_assertions)]
            len: 2 * self.len,
            life: PhantomData,
        }
    }
}

/// Returns disjoint parts of an area, as planned by the compiler.
///
/// # Panics
/// In debug builds, if two parts overlap or one exceeds the area, which the compiler's verifier excludes.
#[inline(always)]
pub fn parts<T: Copy + Default, const N: usize>(area: Area<'_, T>, ranges: [Range<usize>; N]) -> [Area<'_, T>; N] {
    if cfg!(debug_assertions) {
        let overlap = |at: usize| ranges[..at].iter().any(|r| r.start < ranges[at].end && ranges[at].start < r.end);
        assert!(!(0..N).any(overlap), "parts of the scratch overlap: {ranges:?}");
    }
    ranges.map(|range| area.part(range))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn parts_view_their_ranges() {
        let mut floats = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        // SAFETY: the test has one thread, and stays within the six floats.
        let area = unsafe { Area::new(&mut floats) };
        let [high, low] = parts(area, [4..6, 0..3]);
        low.at(1).copy(high, 2);
        high.clear(1..2);
        assert_eq!(low.read(0..3), [0.0, 4.0, 5.0]);
        assert_eq!(floats, [0.0, 4.0, 5.0, 3.0, 4.0, 0.0]);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn debug_builds_check_every_range() {
        let panics = |work: fn(Area<'_>) -> usize| {
            let mut floats = [0.0; 8];
            // SAFETY: debug builds check every access, and there is one thread.
            std::panic::catch_unwind(move || work(unsafe { Area::new(&mut floats) })).is_err()
        };
        assert!(panics(|area| parts(area, [0..4, 3..5]).len()));
        assert!(panics(|area| parts(area, [0..4, 4..9]).len()));
        assert!(panics(|area| area.part(2..4).read(0..3).len()));
        assert!(panics(|area| area.at(9).read(0..0).len()));
        assert!(!panics(|area| parts(area, [0..4, 4..8]).len()));
    }
}
