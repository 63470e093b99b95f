//! Where kernels read and write: slices whose bounds are checked in debug builds only.
//!
//! Generated code addresses memory with literal offsets that the compiler planned and verified;
//! a release build carries the pointer alone, so that a view costs one register.

use core::marker::PhantomData;

/// A readable run of numbers: floats, or the bytes of quantized networks.
#[derive(Clone, Copy)]
pub struct Src<'a, T = f32> {
    pointer: *const T,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a [T]>,
}

/// A writable run of numbers.
pub struct Dst<'a, T = f32> {
    pointer: *mut T,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: numbers that are only read, as a shared slice of them.
unsafe impl<T: Sync> Send for Src<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Src<'_, T> {}

impl<'a, T: Copy> Src<'a, T> {
    /// All of a slice, to read.
    #[inline(always)]
    pub fn new(slice: &'a [T]) -> Self {
        Self {
            pointer: slice.as_ptr(),
            #[cfg(debug_assertions)]
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// A view of what an area holds; the caller has checked the length.
    #[inline(always)]
    pub(super) fn from_raw(pointer: *const T, #[cfg(debug_assertions)] len: usize) -> Self {
        Self {
            pointer,
            #[cfg(debug_assertions)]
            len,
            life: PhantomData,
        }
    }

    /// The view without its first `offset` numbers.
    #[inline(always)]
    pub fn at(self, offset: usize) -> Self {
        Self {
            pointer: self.pointer.wrapping_add(offset),
            #[cfg(debug_assertions)]
            len: checked_rest(self.len, offset),
            life: PhantomData,
        }
    }

    /// The address of `count` numbers from `offset`.
    #[inline(always)]
    pub(super) fn address(self, offset: usize, count: usize) -> *const T {
        #[cfg(debug_assertions)]
        check(self.len, offset, count);
        let _ = count;
        self.pointer.wrapping_add(offset)
    }

    /// The number at `at`.
    #[inline(always)]
    pub fn get(self, at: usize) -> T {
        // SAFETY: `address` checks the range in debug builds; the planner proves it for generated code.
        unsafe { *self.address(at, 1) }
    }

    /// An address that may lie outside the view: for prefetching only.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn hint(self, offset: usize) -> *const T {
        self.pointer.wrapping_add(offset)
    }
}

impl<'a, T: Copy> Dst<'a, T> {
    /// All of a slice, to write.
    #[inline(always)]
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            pointer: slice.as_mut_ptr(),
            #[cfg(debug_assertions)]
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// As [`Src::from_raw`].
    #[inline(always)]
    pub(super) fn from_raw(pointer: *mut T, #[cfg(debug_assertions)] len: usize) -> Self {
        Self {
            pointer,
            #[cfg(debug_assertions)]
            len,
            life: PhantomData,
        }
    }

    /// The view without its first `offset` numbers.
    #[inline(always)]
    pub fn at(&mut self, offset: usize) -> Dst<'_, T> {
        Dst {
            pointer: self.pointer.wrapping_add(offset),
            #[cfg(debug_assertions)]
            len: checked_rest(self.len, offset),
            life: PhantomData,
        }
    }

    /// What has been written, for reading.
    #[inline(always)]
    pub fn src(&self) -> Src<'_, T> {
        Src {
            pointer: self.pointer,
            #[cfg(debug_assertions)]
            len: self.len,
            life: PhantomData,
        }
    }

    /// The address of `count` numbers from `offset`.
    #[inline(always)]
    pub(super) fn address(&mut self, offset: usize, count: usize) -> *mut T {
        #[cfg(debug_assertions)]
        check(self.len, offset, count);
        let _ = count;
        self.pointer.wrapping_add(offset)
    }
}

#[cfg(debug_assertions)]
pub(super) fn check(len: usize, offset: usize, count: usize) {
    assert!(
        offset.checked_add(count).is_some_and(|end| end <= len),
        "a kernel reaches {offset}..{offset}+{count} in a view of {len}"
    );
}

#[cfg(debug_assertions)]
fn checked_rest(len: usize, offset: usize) -> usize {
    len.checked_sub(offset).unwrap_or_else(|| panic!("a kernel moves {offset} into a view of {len}"))
}

/// Asks for the cache line at `address`, which need not be readable; a no-operation where processors find out by
/// themselves.
#[inline(always)]
pub fn ask<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching an address that is not readable does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
