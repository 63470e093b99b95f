//! Where kernels read and write: slices whose bounds are checked in debug builds only.
//!
//! Generated code addresses memory with literal offsets that the compiler planned and verified;
//! a release build carries the pointer alone, so that a view costs one register.

use core::marker::PhantomData;

/// A readable run of floats.
#[derive(Clone, Copy)]
pub struct Src<'a> {
    pointer: *const f32,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a [f32]>,
}

/// A writable run of floats.
pub struct Dst<'a> {
    pointer: *mut f32,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: floats that are only read, as a shared slice of them.
unsafe impl Send for Src<'_> {}
// SAFETY: as above.
unsafe impl Sync for Src<'_> {}

impl<'a> Src<'a> {
    #[inline(always)]
    pub fn new(slice: &'a [f32]) -> Self {
        Self {
            pointer: slice.as_ptr(),
            #[cfg(debug_assertions)]
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// A view of what an area holds; the caller has checked the length.
    #[inline(always)]
    pub(super) fn from_raw(pointer: *const f32, #[cfg(debug_assertions)] len: usize) -> Self {
        Self {
            pointer,
            #[cfg(debug_assertions)]
            len,
            life: PhantomData,
        }
    }

    /// The view without its first `offset` floats.
    #[inline(always)]
    pub fn at(self, offset: usize) -> Self {
        Self {
            pointer: self.pointer.wrapping_add(offset),
            #[cfg(debug_assertions)]
            len: checked_rest(self.len, offset),
            life: PhantomData,
        }
    }

    /// The address of `count` floats from `offset`.
    #[inline(always)]
    pub(super) fn address(self, offset: usize, count: usize) -> *const f32 {
        #[cfg(debug_assertions)]
        check(self.len, offset, count);
        let _ = count;
        self.pointer.wrapping_add(offset)
    }

    /// The float at `at`.
    #[inline(always)]
    pub fn get(self, at: usize) -> f32 {
        // SAFETY: `address` checks the range in debug builds; the planner proves it for generated code.
        unsafe { *self.address(at, 1) }
    }

    /// An address that may lie outside the view: for prefetching only.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn hint(self, offset: usize) -> *const f32 {
        self.pointer.wrapping_add(offset)
    }
}

impl<'a> Dst<'a> {
    #[inline(always)]
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self {
            pointer: slice.as_mut_ptr(),
            #[cfg(debug_assertions)]
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// As [`Src::from_raw`].
    #[inline(always)]
    pub(super) fn from_raw(pointer: *mut f32, #[cfg(debug_assertions)] len: usize) -> Self {
        Self {
            pointer,
            #[cfg(debug_assertions)]
            len,
            life: PhantomData,
        }
    }

    /// The view without its first `offset` floats.
    #[inline(always)]
    pub fn at(&mut self, offset: usize) -> Dst<'_> {
        Dst {
            pointer: self.pointer.wrapping_add(offset),
            #[cfg(debug_assertions)]
            len: checked_rest(self.len, offset),
            life: PhantomData,
        }
    }

    /// What has been written, for reading.
    #[inline(always)]
    pub fn src(&self) -> Src<'_> {
        Src {
            pointer: self.pointer,
            #[cfg(debug_assertions)]
            len: self.len,
            life: PhantomData,
        }
    }

    /// The address of `count` floats from `offset`.
    #[inline(always)]
    pub(super) fn address(&mut self, offset: usize, count: usize) -> *mut f32 {
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
        "a kernel reaches {offset}..{offset}+{count} in a view of {len} floats"
    );
}

#[cfg(debug_assertions)]
fn checked_rest(len: usize, offset: usize) -> usize {
    len.checked_sub(offset).unwrap_or_else(|| panic!("a kernel moves {offset} floats into a view of {len}"))
}

/// Asks for the cache line at `address`, which need not be readable; a no-operation where processors find out by
/// themselves.
#[inline(always)]
pub fn ask(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching an address that is not readable does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
