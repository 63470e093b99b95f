//! Large blocks on the heap, in huge pages where the system has them.
//!
//! A call reads every weight, most of them once. In pages of 4 KiB that is a page walk for each 64 lines, which hardware
//! prefetchers do not cross; and pages that happen to share a place in the second-level cache push each other out. In
//! huge pages the classifier takes half the time, and the kernels that stream their weights a tenth less.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use super::Line;

/// Lines on the heap, zero at first.
#[derive(Debug)]
pub struct Pages {
    memory: Memory,
    lines: usize,
}

#[derive(Debug)]
enum Memory {
    Lines(Vec<Line>),
    #[cfg(all(feature = "std", target_os = "linux"))]
    Huge(Vec<linux::HugePage>),
}

impl Pages {
    pub fn zeroed(lines: usize) -> Self {
        #[cfg(all(feature = "std", target_os = "linux"))]
        if let Some(pages) = linux::HugePage::zeroed(lines) {
            return Self { memory: Memory::Huge(pages), lines };
        }
        Self { memory: Memory::Lines(vec![Line::ZERO; lines]), lines }
    }
}

impl Clone for Pages {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.lines);
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Pages {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        match &self.memory {
            Memory::Lines(lines) => lines,
            #[cfg(all(feature = "std", target_os = "linux"))]
            Memory::Huge(pages) => &linux::HugePage::lines(pages)[..self.lines],
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [Line] {
        match &mut self.memory {
            Memory::Lines(lines) => lines,
            #[cfg(all(feature = "std", target_os = "linux"))]
            Memory::Huge(pages) => &mut linux::HugePage::lines_mut(pages)[..self.lines],
        }
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
mod linux {
    use alloc::vec::Vec;
    use core::ffi::{c_int, c_void};

    use super::super::Line;

    const LINES: usize = HugePage::BYTES / size_of::<Line>();

    /// A huge page of x86-64, and of aarch64 with its usual pages.
    #[derive(Debug)]
    #[repr(C, align(0x20_0000))]
    pub struct HugePage([Line; LINES]);

    unsafe extern "C" {
        // Of the C library that `std` links.
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }

    impl HugePage {
        const BYTES: usize = 0x20_0000;

        /// Memory for `lines`, if they fill most of a page.
        pub fn zeroed(lines: usize) -> Option<Vec<Self>> {
            const MADV_HUGEPAGE: c_int = 14;
            if lines < LINES / 2 {
                return None;
            }
            let count = lines.div_ceil(LINES);
            let mut pages = Vec::<Self>::with_capacity(count);
            // SAFETY: the memory is the vector's own, not used yet, and begins with a page (the type's alignment). That
            // it may not come in huge pages is no error. Zeros are floats, so the vector may have that length.
            unsafe {
                madvise(pages.as_mut_ptr().cast(), count * Self::BYTES, MADV_HUGEPAGE);
                pages.as_mut_ptr().write_bytes(0, count);
                pages.set_len(count);
            }
            Some(pages)
        }

        pub fn lines(pages: &[Self]) -> &[Line] {
            // SAFETY: a page is exactly `LINES` lines without padding (asserted below).
            unsafe { core::slice::from_raw_parts(pages.as_ptr().cast(), pages.len() * LINES) }
        }

        pub fn lines_mut(pages: &mut [Self]) -> &mut [Line] {
            // SAFETY: as in `lines`.
            unsafe { core::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), pages.len() * LINES) }
        }
    }

    const _: () = assert!(size_of::<HugePage>() == HugePage::BYTES && size_of::<Line>() * LINES == HugePage::BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_size_are_zero_aligned_and_apart() {
        for lines in [0, 1, 1000, 16_383, 16_384, 32_768, 32_769, 100_000] {
            let mut pages = Pages::zeroed(lines);
            assert_eq!(pages.len(), lines);
            assert!(pages.as_ptr().is_aligned());
            assert!(pages.iter().all(|line| *line == Line::ZERO));
            pages.fill(Line([1.0; Line::FLOATS]));
            let copy = pages.clone();
            pages.fill(Line::ZERO);
            assert!(copy.iter().all(|line| *line == Line([1.0; Line::FLOATS])));
        }
    }
}
