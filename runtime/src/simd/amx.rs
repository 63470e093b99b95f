//! Advanced Matrix Extensions of x86-64: whether they can be used, and the shapes of the tile registers.
//!
//! A tile register holds up to 16 rows of 64 bytes. The shapes of the eight registers are part of the state of a thread. The
//! Rust compiler does not allocate tile registers, so a product is one block of assembly, from the loads of its sums to
//! their stores.

use core::arch::asm;
use core::marker::PhantomData;

/// Maximum rows of a tile register.
pub(super) const ROWS: usize = 16;
/// Maximum bytes of a row.
const ROW_BYTES: usize = 64;

/// Memory operand of `ldtilecfg` and `sttilecfg` (Intel 64 Architectures Software Developer's Manual, volume 2).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct Shapes {
    /// 1 if the registers are configured, 0 if they are not.
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// No registers.
    const NONE: Self = Self { palette: 0, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };

    /// Registers 0 to 3 for sums, 4 and 5 for the activations of `pixels` pixels, 6 and 7 for weights. `depth` is the
    /// number of bytes that a product reads of a pixel.
    const fn of(pixels: usize, depth: usize) -> Self {
        assert!(1 <= pixels && pixels <= ROWS, "rows of a register");
        assert!(4 <= depth && depth <= ROW_BYTES && depth.is_multiple_of(4), "bytes of a row");
        let mut shapes = Self { palette: 1, ..Self::NONE };
        let mut register = 0;
        while register < 8 {
            let (rows, bytes) = match register {
                0..4 => (pixels, ROW_BYTES),
                4..6 => (pixels, depth),
                _ => (depth / 4, ROW_BYTES),
            };
            shapes.rows[register] = rows as u8;
            shapes.row_bytes[register] = bytes as u16;
            register += 1;
        }
        shapes
    }

    /// Returns the shapes of this thread's registers.
    #[inline]
    fn current() -> Self {
        assert!(is_available(), "products of tile registers on a processor without AMX");
        let mut shapes = Self::NONE;
        // SAFETY: the processor has the instruction, as checked above. It writes 64 bytes, the size of the value.
        unsafe { asm!("sttilecfg [{}]", in(reg) &raw mut shapes, options(nostack, preserves_flags)) };
        shapes
    }

    /// Gives this thread's registers these shapes, and clears them.
    ///
    /// # Safety
    /// The processor has AMX, and code that uses the registers with other shapes must not run afterwards.
    #[inline]
    unsafe fn load(&self) {
        // SAFETY: the processor has the instruction. The value has 64 bytes and is valid: `of`, `NONE` and `current` are
        // the only constructors.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, preserves_flags, readonly)) };
    }
}

/// Tile registers of this thread, for blocks of `PIXELS` pixels with `DEPTH` bytes of each.
///
/// The registers have these shapes until the value is dropped, which restores the previous ones. A second value on the same thread
/// has other shapes, so the first one must not be used while the second one exists.
pub struct Tiles<const PIXELS: usize, const DEPTH: usize> {
    previous: Shapes,
    /// The registers belong to a thread.
    thread: PhantomData<*const ()>,
}

impl<const PIXELS: usize, const DEPTH: usize> Tiles<PIXELS, DEPTH> {
    const SHAPES: Shapes = Shapes::of(PIXELS, DEPTH);

    /// Configures the registers.
    ///
    /// # Panics
    /// If the processor or the operating system does not support AMX.
    #[inline]
    pub fn new() -> Self {
        let previous = Shapes::current();
        // SAFETY: `current` has checked that the processor has AMX. The previous shapes are restored before code that
        // was running with them goes on.
        unsafe { Self::SHAPES.load() };
        Self { previous, thread: PhantomData }
    }

    /// Panics in debug builds if the registers have other shapes.
    #[inline(always)]
    pub(super) fn check(&self) {
        #[cfg(debug_assertions)]
        assert!(Shapes::current() == Self::SHAPES, "a kernel runs with the tile registers of another one");
    }
}

impl<const PIXELS: usize, const DEPTH: usize> Drop for Tiles<PIXELS, DEPTH> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the processor has AMX, as checked by `new`. The code that follows runs with the previous shapes.
        unsafe { self.previous.load() };
    }
}

/// Whether the processor and the operating system support AMX. Linux requires that a process ask for it once.
#[cfg(all(feature = "std", not(miri)))]
#[inline]
pub(crate) fn is_available() -> bool {
    use std::sync::OnceLock;

    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| is_present() && is_permitted())
}

/// Without `std` AMX is not used: the operating system could not be asked for permission.
#[cfg(not(all(feature = "std", not(miri))))]
pub(crate) fn is_available() -> bool {
    false
}

/// Whether the processor has AMX with bf16, and the operating system saves its registers.
#[cfg(all(feature = "std", not(miri)))]
fn is_present() -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// `OSXSAVE` in `ecx` of leaf 1.
    const OSXSAVE: u32 = 1 << 27;
    /// `AMX-BF16` and `AMX-TILE` in `edx` of leaf 7.
    const FEATURES: u32 = 1 << 22 | 1 << 24;
    /// `TILECFG` and `TILEDATA` in `XCR0`.
    const STATE: u64 = 1 << 17 | 1 << 18;

    #[target_feature(enable = "xsave")]
    fn state() -> u64 {
        // SAFETY: the caller has checked that `xgetbv` is enabled, and register 0 always exists.
        unsafe { _xgetbv(0) }
    }

    let has_features =
        __cpuid(0).eax >= 7 && __cpuid(1).ecx & OSXSAVE == OSXSAVE && __cpuid_count(7, 0).edx & FEATURES == FEATURES;
    // SAFETY: `OSXSAVE` says that `xgetbv` is enabled.
    has_features && unsafe { state() } & STATE == STATE
}

/// Asks Linux for permission to use the tile registers, for all threads of the process.
#[cfg(all(feature = "std", not(miri), any(target_os = "linux", target_os = "android")))]
fn is_permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: the system call reads and writes no memory of the process. It destroys `rcx` and `r11`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") TILE_DATA,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Other systems need no request.
#[cfg(all(feature = "std", not(miri), not(any(target_os = "linux", target_os = "android"))))]
fn is_permitted() -> bool {
    true
}
