//! Work sharing among the threads that run one call of a network.
//!
//! Every thread of a team runs the whole network over the same scratch. If a step is shared, each thread does its share
//! and waits for the others before it reads what they wrote. Shares never split a sum, so results are bit-identical for
//! any team size.

use core::ops::Range;

use crate::simd::Area;

/// A thread of a team.
pub trait Team: Copy {
    /// Returns the index of this thread in its team, from 0. Thread 0 is the caller.
    fn index(self) -> usize;

    /// Returns the number of threads in the team.
    fn threads(self) -> usize;

    /// Barrier: returns when every thread of the team has arrived. All threads can then read what the others wrote.
    fn wait(self);

    /// Returns this thread's share of `count` items: a contiguous range. The lengths of the threads' ranges differ by
    /// at most one.
    #[inline(always)]
    fn share(self, count: usize) -> Range<usize> {
        let (index, threads) = (self.index(), self.threads());
        index * count / threads..(index + 1) * count / threads
    }

    /// Returns this thread's arena: its `count` elements of an area with `count` elements per thread.
    #[inline(always)]
    fn arena<T: Copy + Default>(self, area: Area<'_, T>, count: usize) -> Area<'_, T> {
        area.part(self.index() * count..(self.index() + 1) * count)
    }
}

/// A caller without workers. Code that is generic over a [`Team`] compiles to plain loops for it.
#[derive(Debug, Clone, Copy)]
pub struct Solo;

impl Team for Solo {
    #[inline(always)]
    fn index(self) -> usize {
        0
    }

    #[inline(always)]
    fn threads(self) -> usize {
        1
    }

    #[inline(always)]
    fn wait(self) {}
}

/// Returns the part of `share` in the `count` items from `first`, as indices relative to `first`.
#[inline(always)]
pub fn within(share: &Range<usize>, first: usize, count: usize) -> Range<usize> {
    let clip = |at: usize| usize::min(usize::saturating_sub(at, first), count);
    clip(share.start)..clip(share.end)
}

/// Returns the part of `share` in `first..end`.
#[inline(always)]
pub fn clip(share: &Range<usize>, first: usize, end: usize) -> Range<usize> {
    usize::max(share.start, first)..usize::min(share.end, end)
}

/// Runs `caller` on the calling thread only: without the standard library there are no threads.
#[cfg(not(feature = "std"))]
pub fn together(_: usize, _: impl Fn(Solo) + Sync, caller: impl FnOnce(Solo)) {
    caller(Solo);
}

/// Does nothing: without the standard library there are no threads.
#[cfg(not(feature = "std"))]
pub fn start_workers(_: usize) {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[derive(Clone, Copy)]
    struct Thread {
        index: usize,
        threads: usize,
    }

    impl Team for Thread {
        fn index(self) -> usize {
            self.index
        }

        fn threads(self) -> usize {
            self.threads
        }

        fn wait(self) {}
    }

    #[test]
    fn shares_cover_everything_once_and_evenly() {
        for threads in 1..9 {
            for count in 0..40 {
                let shares: Vec<_> = (0..threads).map(|index| Thread { index, threads }.share(count)).collect();
                let all: Vec<usize> = shares.iter().cloned().flatten().collect();
                assert_eq!(all, (0..count).collect::<Vec<_>>(), "{count} among {threads}");
                let (least, most) = (count / threads, count.div_ceil(threads));
                assert!(shares.iter().all(|share| share.len() == least || share.len() == most));
            }
        }
        assert_eq!(Solo.share(7), 0..7);
    }

    #[test]
    fn parts_of_a_share_are_relative_to_their_first_item() {
        assert_eq!(within(&(2..9), 0, 5), 2..5);
        assert_eq!(within(&(2..9), 5, 10), 0..4);
        assert!(within(&(2..4), 5, 3).is_empty() && within(&(6..9), 2, 3).is_empty());
    }

    #[test]
    fn threads_own_parts_of_an_area() {
        let mut floats = [0.0, 1.0, 2.0, 3.0];
        // SAFETY: one thread reads within the four floats.
        let area = unsafe { Area::new(&mut floats) };
        assert_eq!(Thread { index: 1, threads: 2 }.arena(area, 2).read(0..2), [2.0, 3.0]);
    }
}
