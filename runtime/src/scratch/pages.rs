//! Large blocks of memory, in huge pages where the system supports them.
//!
//! A call reads every weight, most of them once. With pages of 4 KiB every 64 lines cost a page walk, hardware prefetchers
//! stop at page boundaries, and pages that map to the same sets of the second-level cache evict each other. With huge pages
//! the classifier takes half the time, and kernels that stream their weights a tenth less. Programs also start faster: a
//! block of 14 MB takes 7 page faults instead of 3500.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

use super::line::Line;
#[cfg(all(feature = "std", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use linux::Mapping;
#[cfg(not(all(
    feature = "std",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
)))]
use none::Mapping;

/// Cache lines, initially zero.
pub struct Pages(Memory);

enum Memory {
    Lines(Vec<Line>),
    Mapped(Mapping),
}

impl Pages {
    pub fn zeroed(lines: usize) -> Self {
        Self(match Mapping::zeroed(lines) {
            Some(mapping) => Memory::Mapped(mapping),
            None => Memory::Lines(vec![Line::ZERO; lines]),
        })
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.len())
    }
}

impl Clone for Pages {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Pages {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        match &self.0 {
            Memory::Lines(lines) => lines,
            Memory::Mapped(mapping) => mapping.lines(),
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [Line] {
        match &mut self.0 {
            Memory::Lines(lines) => lines,
            Memory::Mapped(mapping) => mapping.lines_mut(),
        }
    }
}

#[cfg(all(feature = "std", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod linux {
    use core::ffi::{c_int, c_void};
    use core::ptr::{NonNull, null_mut};

    use crate::scratch::line::Line;

    /// Bytes of a huge page on both architectures, with their default base pages.
    const HUGE_PAGE: usize = 2 << 20;

    // Functions of the C library that `std` links; constants as in `<sys/mman.h>` on both architectures.
    unsafe extern "C" {
        fn mmap(at: *mut c_void, bytes: usize, access: c_int, kind: c_int, file: c_int, offset: i64) -> *mut c_void;
        fn munmap(start: *mut c_void, bytes: usize) -> c_int;
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }

    /// A private mapping.
    pub struct Mapping {
        start: NonNull<c_void>,
        bytes: usize,
        first: NonNull<Line>,
        lines: usize,
    }

    // SAFETY: the mapping owns its memory, as a vector does.
    unsafe impl Send for Mapping {}
    // SAFETY: as above; the memory is written only through exclusive references.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        /// Maps memory for `lines`, if they fill most of a huge page and the system has enough.
        pub fn zeroed(lines: usize) -> Option<Self> {
            const READ_AND_WRITE: c_int = 1 | 2;
            const PRIVATE_AND_ANONYMOUS: c_int = 0x02 | 0x20;
            const MADV_HUGEPAGE: c_int = 14;
            let used = lines.checked_mul(size_of::<Line>())?;
            if used < HUGE_PAGE / 2 {
                return None;
            }
            // Whole huge pages, plus one to align the first: untouched memory costs nothing.
            let pages = used.checked_next_multiple_of(HUGE_PAGE)?;
            let bytes = pages.checked_add(HUGE_PAGE)?;
            // SAFETY: requests a new mapping at any address, which affects no existing memory.
            let start = unsafe { mmap(null_mut(), bytes, READ_AND_WRITE, PRIVATE_AND_ANONYMOUS, -1, 0) };
            if start.addr() == usize::MAX {
                return None;
            }
            let start = NonNull::new(start)?;
            let skipped = start.addr().get().next_multiple_of(HUGE_PAGE) - start.addr().get();
            // SAFETY: less than a huge page is skipped, and the mapping is a huge page longer than `pages`. `madvise` is a
            // hint: its failure is not an error.
            let first = unsafe {
                let first = start.byte_add(skipped);
                madvise(first.as_ptr(), pages, MADV_HUGEPAGE);
                first.cast()
            };
            Some(Self { start, bytes, first, lines })
        }

        pub fn lines(&self) -> &[Line] {
            // SAFETY: `first` is aligned to a huge page, and the mapping holds at least `lines` lines from there; the
            // system zeroed them, and zeros are valid floats.
            unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.lines) }
        }

        pub fn lines_mut(&mut self) -> &mut [Line] {
            // SAFETY: as in `lines`; the reference is exclusive.
            unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.lines) }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: unmaps what `mmap` returned, once; no reference outlives the mapping.
            unsafe { munmap(self.start.as_ptr(), self.bytes) };
        }
    }
}

#[cfg(not(all(
    feature = "std",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
)))]
mod none {
    use crate::scratch::line::Line;

    /// Never constructed: this target maps no huge pages.
    pub enum Mapping {}

    impl Mapping {
        pub fn zeroed(_: usize) -> Option<Self> {
            None
        }

        pub fn lines(&self) -> &[Line] {
            match *self {}
        }

        pub fn lines_mut(&mut self) -> &mut [Line] {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_size_are_zeroed_aligned_and_disjoint() {
        // An interpreter takes minutes for the large ones, and maps no huge pages.
        let sizes: &[usize] =
            if cfg!(miri) { &[0, 1, 100] } else { &[0, 1, 1000, 16_383, 16_384, 32_768, 32_769, 100_000] };
        for &lines in sizes {
            let mut pages = Pages::zeroed(lines);
            assert_eq!(pages.len(), lines);
            assert!(pages.as_ptr().is_aligned());
            assert!(pages.iter().all(|line| *line == Line::ZERO));
            pages.fill(Line([1.0; Line::FLOATS]));
            let copy = pages.clone();
            drop(pages);
            assert!(copy.iter().all(|line| *line == Line([1.0; Line::FLOATS])));
        }
    }
}
