//! Teams: those who work on one call of a network together.
//!
//! Every member runs the whole network over the same scratch. Where a step says so it does only its share, and waits
//! for the others before it reads what they wrote. Shares never split a sum, so that every team gives the same bits.

use core::ops::Range;

use crate::simd::Area;

/// A member of a team.
pub trait Team: Copy {
    /// Its number, from 0; member 0 is the caller.
    fn index(self) -> usize;

    /// How many there are.
    fn members(self) -> usize;

    /// Returns when every member has come here; what they wrote before can be read after.
    fn wait(self);

    /// This member's share of `count` items: one after the other, of nearly the same number for each member.
    #[inline(always)]
    fn share(self, count: usize) -> Range<usize> {
        let (index, members) = (self.index(), self.members());
        index * count / members..(index + 1) * count / members
    }

    /// This member's own `count` numbers of an area that holds as many for each.
    #[inline(always)]
    fn own<T: Copy + Default>(self, area: Area<'_, T>, count: usize) -> Area<'_, T> {
        area.part(self.index() * count..(self.index() + 1) * count)
    }
}

/// A caller that works alone: everything here vanishes when it is compiled.
#[derive(Debug, Clone, Copy)]
pub struct Solo;

impl Team for Solo {
    #[inline(always)]
    fn index(self) -> usize {
        0
    }

    #[inline(always)]
    fn members(self) -> usize {
        1
    }

    #[inline(always)]
    fn wait(self) {}
}

/// What of a member's `share` lies in the `count` items from `first`, counted from there.
#[inline(always)]
pub fn within(share: &Range<usize>, first: usize, count: usize) -> Range<usize> {
    let clip = |at: usize| usize::min(usize::saturating_sub(at, first), count);
    clip(share.start)..clip(share.end)
}

/// What of a member's `share` lies in `first..end`.
#[inline(always)]
pub fn clip(share: &Range<usize>, first: usize, end: usize) -> Range<usize> {
    usize::max(share.start, first)..usize::min(share.end, end)
}

/// Without the standard library there are no threads: the caller works alone, whatever the network was compiled for.
#[cfg(not(feature = "std"))]
pub fn together(_: usize, _: impl Fn(Solo) + Sync, caller: impl FnOnce(Solo)) {
    caller(Solo);
}

/// As [`together`]: there are no threads to start.
#[cfg(not(feature = "std"))]
pub fn start_workers(_: usize) {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[derive(Clone, Copy)]
    struct Member(usize, usize);

    impl Team for Member {
        fn index(self) -> usize {
            self.0
        }

        fn members(self) -> usize {
            self.1
        }

        fn wait(self) {}
    }

    #[test]
    fn shares_cover_everything_once_and_evenly() {
        for members in 1..9 {
            for count in 0..40 {
                let shares: Vec<_> = (0..members).map(|index| Member(index, members).share(count)).collect();
                let all: Vec<usize> = shares.iter().cloned().flatten().collect();
                assert_eq!(all, (0..count).collect::<Vec<_>>(), "{count} among {members}");
                let (least, most) = (count / members, count.div_ceil(members));
                assert!(shares.iter().all(|share| share.len() == least || share.len() == most));
            }
        }
        assert_eq!(Solo.share(7), 0..7);
    }

    #[test]
    fn forms_of_items_are_counted_from_their_own_start() {
        assert_eq!(within(&(2..9), 0, 5), 2..5);
        assert_eq!(within(&(2..9), 5, 10), 0..4);
        assert!(within(&(2..4), 5, 3).is_empty() && within(&(6..9), 2, 3).is_empty());
    }

    #[test]
    fn members_own_parts_of_an_area() {
        let mut floats = [0.0, 1.0, 2.0, 3.0];
        // SAFETY: one thread reads within the four floats.
        let area = unsafe { Area::new(&mut floats) };
        assert_eq!(Member(1, 2).own(area, 2).read(0..2), [2.0, 3.0]);
    }
}
