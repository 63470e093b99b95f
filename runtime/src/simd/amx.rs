//! Advanced Matrix Extensions (AMX) of x86-64: detection and configuration of the tile registers.
//!
//! A tile register holds up to 16 rows of 64 bytes. The shapes of the eight registers are part of the thread state. The
//! Rust compiler does not allocate tile registers, so each product is a single `asm!` block that loads, updates and stores
//! its sums.

use core::arch::asm;
use core::marker::PhantomData;

/// Maximum number of rows of a tile register.
pub(super) const ROWS: usize = 16;
/// Maximum number of bytes in a row of a tile register.
const ROW_BYTES: usize = 64;

/// Memory operand of `ldtilecfg` and `sttilecfg` (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct Shapes {
    /// Palette: 1 if the registers are configured, 0 if not.
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// State in which no register is configured.
    const NONE: Self = Self { palette: 0, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };

    /// Registers 0 to 3 for sums, 4 and 5 for the activations of `pixels` pixels, 6 and 7 for weights. `bytes` is the
    /// number of bytes that one multiply instruction reads per pixel.
    const fn of(pixels: usize, bytes: usize) -> Self {
        assert!(1 <= pixels && pixels <= ROWS, "expected 1 to 16 pixels");
        assert!(4 <= bytes && bytes <= ROW_BYTES && bytes.is_multiple_of(4), "expected 4 to 64 bytes, a multiple of 4");
        let mut shapes = Self { palette: 1, ..Self::NONE };
        let mut register = 0;
        while register < 8 {
            let (rows, row_bytes) = match register {
                0..4 => (pixels, ROW_BYTES),
                4..6 => (pixels, bytes),
                _ => (bytes / 4, ROW_BYTES),
            };
            shapes.rows[register] = rows as u8;
            shapes.row_bytes[register] = row_bytes as u16;
            register += 1;
        }
        shapes
    }

    /// Returns the shapes of this thread's registers.
    ///
    /// Panics if AMX is not available.
    #[inline]
    fn current() -> Self {
        assert!(is_available(), "AMX is not available");
        let mut shapes = Self::NONE;
        // SAFETY: the processor has AMX, as checked above. The instruction writes 64 bytes, the size of the value.
        unsafe { asm!("sttilecfg [{}]", in(reg) &raw mut shapes, options(nostack, preserves_flags)) };
        shapes
    }

    /// Configures this thread's tile registers with these shapes and sets the registers to zero.
    ///
    /// # Safety
    /// The processor must have AMX. No code that expects other shapes may use the registers afterwards.
    #[inline]
    unsafe fn load(&self) {
        // SAFETY: the caller guarantees that the processor has AMX. The value has 64 bytes and is valid: `of`, `NONE` and
        // `current` are the only constructors.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, preserves_flags, readonly)) };
    }
}

/// Configuration of this thread's tile registers for blocks of `PIXELS` pixels and `BYTES` bytes per pixel.
///
/// The configuration lasts until the value is dropped. Dropping it restores the previous configuration. A second value on the
/// same thread replaces the shapes of the first. Do not use the first while the second exists.
pub struct Tiles<const PIXELS: usize, const BYTES: usize> {
    previous: Shapes,
    /// Makes the type neither `Send` nor `Sync`: the configuration belongs to one thread.
    thread: PhantomData<*const ()>,
}

impl<const PIXELS: usize, const BYTES: usize> Tiles<PIXELS, BYTES> {
    const SHAPES: Shapes = Shapes::of(PIXELS, BYTES);

    /// Configures the registers.
    ///
    /// # Panics
    /// Panics if the processor or the operating system does not support AMX.
    #[inline]
    pub fn new() -> Self {
        let previous = Shapes::current();
        // SAFETY: `current` has checked that the processor has AMX. `drop` restores the previous shapes before code that
        // depends on them continues.
        unsafe { Self::SHAPES.load() };
        Self { previous, thread: PhantomData }
    }

    /// Panics in debug builds if the registers do not have the shapes of this type.
    #[inline(always)]
    pub(super) fn check(&self) {
        #[cfg(debug_assertions)]
        assert!(Shapes::current() == Self::SHAPES, "tile registers are configured for a different kernel");
    }
}

impl<const PIXELS: usize, const BYTES: usize> Drop for Tiles<PIXELS, BYTES> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `new` checked that the processor has AMX. Code after this point expects the previous shapes.
        unsafe { self.previous.load() };
    }
}

/// Returns whether this process can use AMX with bf16. On Linux, the first call requests permission for the process.
#[inline]
pub(crate) fn is_available() -> bool {
    #[cfg(all(feature = "std", target_os = "linux", not(miri)))]
    {
        static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *AVAILABLE.get_or_init(|| linux::is_present() && linux::is_permitted())
    }
    // Not supported: other systems have other requests for permission, and a program without `std` may have no system.
    #[cfg(not(all(feature = "std", target_os = "linux", not(miri))))]
    false
}

#[cfg(all(feature = "std", target_os = "linux", not(miri)))]
mod linux {
    use core::arch::asm;
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Returns whether the processor has AMX-BF16 and the operating system saves the tile registers.
    pub fn is_present() -> bool {
        /// `OSXSAVE` bit in `ecx` of CPUID leaf 1.
        const OSXSAVE: u32 = 1 << 27;
        /// `AMX-BF16` and `AMX-TILE` bits in `edx` of CPUID leaf 7.
        const FEATURES: u32 = 1 << 22 | 1 << 24;
        /// `TILECFG` and `TILEDATA` bits in the register `XCR0`.
        const STATE: u64 = 1 << 17 | 1 << 18;

        #[target_feature(enable = "xsave")]
        fn state() -> u64 {
            // SAFETY: the caller has checked that `xgetbv` is enabled, and `XCR0` always exists.
            unsafe { _xgetbv(0) }
        }

        let has_features = __cpuid(0).eax >= 7
            && __cpuid(1).ecx & OSXSAVE == OSXSAVE
            && __cpuid_count(7, 0).edx & FEATURES == FEATURES;
        // SAFETY: `OSXSAVE` is set, so `xgetbv` is enabled.
        has_features && unsafe { state() } & STATE == STATE
    }

    /// Requests permission to use the tile registers, for all threads of the process, and returns whether it is granted.
    pub fn is_permitted() -> bool {
        const ARCH_PRCTL: isize = 158;
        const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
        const TILE_DATA: usize = 18;
        let result: isize;
        // SAFETY: the system call accesses no memory of the process. It clobbers `rcx` and `r11`.
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
}
