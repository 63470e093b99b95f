//! Memory that the members of a team write together: the scratch of a call, and its output.
//!
//! No member can hold it as an exclusive slice, so that it is a pointer that all of them copy. As with `Src` and
//! `Dst`, offsets are literals that the compiler planned and verified, and bounds are checked in debug builds only. No
//! number is written by one member while another one reads or writes it: the compiler gives what is written at the same
//! time places of its own, and lets the members wait for each other before one reads what another wrote.

use core::marker::PhantomData;
use core::ops::Range;

use super::{Dst, Src};

/// A run of numbers that a team shares: numbers, or the bytes of quantized networks.
#[derive(Clone, Copy)]
pub struct Area<'a, T = f32> {
    pointer: *mut T,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: an area stands for an exclusive slice of numbers, which may go to another thread; what its holders may do at
// the same time stands above.
unsafe impl<T: Send> Send for Area<'_, T> {}
// SAFETY: as above; an area has no state of its own.
unsafe impl<T: Send> Sync for Area<'_, T> {}

impl<'a, T: Copy + Default> Area<'a, T> {
    /// All of a slice.
    #[inline(always)]
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            pointer: slice.as_mut_ptr(),
            #[cfg(debug_assertions)]
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// The numbers of `range`.
    #[inline(always)]
    pub fn part(self, range: Range<usize>) -> Self {
        Self {
            pointer: self.address(range.start, range.len()),
            #[cfg(debug_assertions)]
            len: range.len(),
            life: PhantomData,
        }
    }

    /// The area without its first `offset` numbers.
    #[inline(always)]
    pub fn at(self, offset: usize) -> Self {
        Self {
            pointer: self.address(offset, 0),
            #[cfg(debug_assertions)]
            len: self.len - offset,
            life: PhantomData,
        }
    }

    /// A view to read from `offset`.
    #[inline(always)]
    pub fn src(self, offset: usize) -> Src<'a, T> {
        let area = self.at(offset);
        Src::from_raw(
            area.pointer,
            #[cfg(debug_assertions)]
            area.len,
        )
    }

    /// A view to write from `offset`.
    #[inline(always)]
    pub fn dst(self, offset: usize) -> Dst<'a, T> {
        let area = self.at(offset);
        Dst::from_raw(
            area.pointer,
            #[cfg(debug_assertions)]
            area.len,
        )
    }

    /// The numbers of `range`, for reading while nobody writes them.
    #[inline(always)]
    pub fn read(self, range: Range<usize>) -> &'a [T] {
        // SAFETY: `address` checks the range in debug builds, the planner proves it for generated code; nobody writes.
        unsafe { core::slice::from_raw_parts(self.address(range.start, range.len()), range.len()) }
    }

    /// Lets `write` write the numbers of `range`, which no one else may use meanwhile.
    #[inline(always)]
    pub fn write(self, range: Range<usize>, write: impl FnOnce(&mut [T])) {
        // SAFETY: as in `read`; the slice ends with the call, and nobody else uses its numbers.
        write(unsafe { core::slice::from_raw_parts_mut(self.address(range.start, range.len()), range.len()) });
    }

    /// Zeroes the numbers of `range`.
    #[inline]
    pub fn clear(self, range: Range<usize>) {
        self.write(range, |numbers| numbers.fill(T::default()));
    }

    /// Copies the first `len` numbers of another area.
    #[inline]
    pub fn copy(self, from: Area<'_, T>, len: usize) {
        self.write(0..len, |numbers| numbers.copy_from_slice(from.read(0..len)));
    }

    /// The address of `count` numbers from `offset`.
    #[inline(always)]
    fn address(self, offset: usize, count: usize) -> *mut T {
        #[cfg(debug_assertions)]
        super::view::check(self.len, offset, count);
        let _ = count;
        self.pointer.wrapping_add(offset)
    }
}

/// Disjoint parts of an area, which the compiler planned.
///
/// # Panics
/// In debug builds, if they overlap or reach outside, which the verifier of the compiler excludes.
#[inline(always)]
pub fn parts<T: Copy + Default, const N: usize>(area: Area<'_, T>, ranges: [Range<usize>; N]) -> [Area<'_, T>; N] {
    if cfg!(debug_assertions) {
        let overlap = |at: usize| ranges[..at].iter().any(|r| r.start < ranges[at].end && ranges[at].start < r.end);
        assert!(!(0..N).any(overlap), "the scratch plan of a network is broken: {ranges:?}");
    }
    ranges.map(|range| area.part(range))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn parts_are_the_floats_of_their_ranges() {
        let mut floats = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let [high, low] = parts(Area::new(&mut floats), [4..6, 0..3]);
        low.at(1).copy(high, 2);
        high.clear(1..2);
        assert_eq!(low.read(0..3), [0.0, 4.0, 5.0]);
        assert_eq!(floats, [0.0, 4.0, 5.0, 3.0, 4.0, 0.0]);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn debug_builds_see_what_a_broken_plan_does() {
        let panics = |work: fn(Area<'_>) -> usize| {
            let mut floats = [0.0; 8];
            std::panic::catch_unwind(move || work(Area::new(&mut floats))).is_err()
        };
        assert!(panics(|area| parts(area, [0..4, 3..5]).len()));
        assert!(panics(|area| parts(area, [0..4, 4..9]).len()));
        assert!(panics(|area| area.part(2..4).read(0..3).len()));
        assert!(panics(|area| area.at(9).read(0..0).len()));
        assert!(!panics(|area| parts(area, [0..4, 4..8]).len()));
    }
}
