//! Views that kernels read and write: slices whose bounds are checked in debug builds only.
//!
//! Generated code addresses memory with literal offsets that the compiler planned and verified. A release build carries
//! the pointer alone, so that a view costs one register. Methods of a view are safe to call only because its
//! constructors are `unsafe`: their callers guarantee that every access stays in bounds.
//!
//! On x86-64 their contract has a second part: no code may change the shapes of this thread's tile registers between a call
//! of [`Src::tiles`] and the last use of its result.

use core::marker::PhantomData;

/// Readable numbers: floats, or the bytes of quantized networks.
///
/// A view cannot be created in safe code, because release builds do not check its offsets:
///
/// ```compile_fail,E0133
/// #![forbid(unsafe_code)]
/// let numbers = vec![1.0; 16];
/// mbvc_runtime::Src::new(&numbers).get(1 << 44);
/// ```
#[derive(Clone, Copy)]
pub struct Src<'a, T = f32> {
    pointer: *const T,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a [T]>,
}

/// Writable numbers.
///
/// Like [`Src`], it cannot be created in safe code:
///
/// ```compile_fail,E0133
/// #![forbid(unsafe_code)]
/// mbvc_runtime::Dst::new(&mut [0.0; 16]).at(1 << 44);
/// ```
pub struct Dst<'a, T = f32> {
    pointer: *mut T,
    #[cfg(debug_assertions)]
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a view reads numbers as a shared slice of them does; the contract of `new` applies to every thread.
unsafe impl<T: Sync> Send for Src<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Src<'_, T> {}

impl<'a, T: Copy> Src<'a, T> {
    /// Views all of a slice.
    ///
    /// # Safety
    /// Every access through this view, and through every view that is derived from it, must stay within the slice that
    /// it views. [`view`](Self::view) and [`view_mut`](Self::view_mut) derive views of other slices.
    /// The contract for tile registers is that of the module.
    #[inline(always)]
    pub const unsafe fn new(slice: &'a [T]) -> Self {
        Self::of(slice)
    }

    /// Returns a view of another slice, under the contract of this view.
    #[inline(always)]
    pub fn view<'b>(self, slice: &'b [T]) -> Src<'b, T> {
        Src::of(slice)
    }

    /// Returns a view of another slice for writing, under the contract of this view.
    #[inline(always)]
    pub fn view_mut<'b>(self, slice: &'b mut [T]) -> Dst<'b, T> {
        Dst::of(slice)
    }

    #[inline(always)]
    const fn of(slice: &'a [T]) -> Self {
        Self {
            pointer: slice.as_ptr(),
            #[cfg(debug_assertions)]
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// Views `len` numbers of an area from `pointer`; the caller has checked the length.
    #[inline(always)]
    pub(super) fn from_raw(pointer: *const T, #[cfg(debug_assertions)] len: usize) -> Self {
        Self {
            pointer,
            #[cfg(debug_assertions)]
            len,
            life: PhantomData,
        }
    }

    /// Returns the view without its first `offset` numbers.
    #[inline(always)]
    pub fn at(self, offset: usize) -> Self {
        Self {
            pointer: self.pointer.wrapping_add(offset),
            #[cfg(debug_assertions)]
            len: checked_rest(self.len, offset),
            life: PhantomData,
        }
    }

    /// Returns the address of `count` numbers from `offset`.
    #[inline(always)]
    pub(super) fn address(self, offset: usize, count: usize) -> *const T {
        #[cfg(debug_assertions)]
        check(self.len, offset, count);
        let _ = count;
        self.pointer.wrapping_add(offset)
    }

    /// Returns the number at `at`.
    #[inline(always)]
    pub fn get(self, at: usize) -> T {
        // SAFETY: the view's constructor requires that the number is in the slice; debug builds check it.
        unsafe { *self.address(at, 1) }
    }

    /// Returns an address that may be outside the view, for prefetching only.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn hint(self, offset: usize) -> *const T {
        self.pointer.wrapping_add(offset)
    }
}

impl<'a, T: Copy> Dst<'a, T> {
    /// Views all of a slice.
    ///
    /// # Safety
    /// Every access through this view, and through every view that is derived from it, must stay within the slice. The
    /// contract for tile registers is that of the module.
    #[inline(always)]
    pub unsafe fn new(slice: &'a mut [T]) -> Self {
        Self::of(slice)
    }

    #[inline(always)]
    fn of(slice: &'a mut [T]) -> Self {
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

    /// Returns the view without its first `offset` numbers.
    #[inline(always)]
    pub fn at(&mut self, offset: usize) -> Dst<'_, T> {
        Dst {
            pointer: self.pointer.wrapping_add(offset),
            #[cfg(debug_assertions)]
            len: checked_rest(self.len, offset),
            life: PhantomData,
        }
    }

    /// Returns a view for reading what was written.
    #[inline(always)]
    pub fn src(&self) -> Src<'_, T> {
        Src {
            pointer: self.pointer,
            #[cfg(debug_assertions)]
            len: self.len,
            life: PhantomData,
        }
    }

    /// Returns the address of `count` numbers from `offset`.
    #[inline(always)]
    pub(super) fn address(&mut self, offset: usize, count: usize) -> *mut T {
        #[cfg(debug_assertions)]
        check(self.len, offset, count);
        let _ = count;
        self.pointer.wrapping_add(offset)
    }
}

impl Src<'_, u8> {
    /// Returns `N` bytes from `at`.
    #[inline(always)]
    pub(super) fn read<const N: usize>(self, at: usize) -> [u8; N] {
        // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
        unsafe { self.address(at, N).cast::<[u8; N]>().read_unaligned() }
    }

    /// Returns the integer at byte `at`.
    #[inline(always)]
    pub(super) fn word(self, at: usize) -> i32 {
        i32::from_le_bytes(self.read(at))
    }
}

impl Dst<'_, u8> {
    /// Writes bytes from `at`.
    #[inline(always)]
    pub(super) fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        // SAFETY: as in `Src::read`.
        unsafe { self.address(at, N).cast::<[u8; N]>().write_unaligned(bytes) }
    }
}

#[cfg(debug_assertions)]
pub(super) fn check(len: usize, offset: usize, count: usize) {
    assert!(
        offset.checked_add(count).is_some_and(|end| end <= len),
        "a kernel accesses {offset}..{offset}+{count} of a view of {len} elements"
    );
}

#[cfg(debug_assertions)]
fn checked_rest(len: usize, offset: usize) -> usize {
    len.checked_sub(offset).unwrap_or_else(|| panic!("a kernel moves a view of {len} elements by {offset}"))
}

/// Prefetches the cache line at `address`, which need not be readable. Does nothing on targets with sufficient
/// hardware prefetching.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching an address that is not readable does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
