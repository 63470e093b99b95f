//! Advanced Matrix Extensions (AMX) of x86-64: detection and configuration of the tile registers.
//!
//! A tile register holds up to 16 rows of 64 bytes. The shapes of the eight registers are part of the thread state. By the
//! calling convention, any function may change the shapes and the contents, so each kernel configures the registers.
//!
//! The Rust compiler does not allocate tile registers, so each product is a single `asm!` block that loads, updates and stores
//! its sums.

use core::arch::asm;
use core::marker::PhantomData;

use super::Src;

/// Maximum number of rows of a tile register.
pub(super) const ROWS: usize = 16;
/// Maximum number of bytes in a row of a tile register.
const ROW_BYTES: usize = 64;

/// Memory operand of `ldtilecfg` and `sttilecfg` (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2).
///
/// Byte 0 is the palette: 1 if the registers are configured, 0 if not. The bytes per row of register `r` are the 16-bit
/// number at byte `16 + 2 * r`; its number of rows is byte `48 + r`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct Shapes([u8; 64]);

impl Shapes {
    /// Registers 0 to 3 for sums, 4 and 5 for the activations of `pixels` pixels, 6 and 7 for weights. `bytes` is the
    /// number of bytes that one multiply instruction reads per pixel.
    const fn of(pixels: usize, bytes: usize) -> Self {
        assert!(1 <= pixels && pixels <= ROWS, "expected 1 to 16 pixels");
        assert!(4 <= bytes && bytes <= ROW_BYTES && bytes.is_multiple_of(4), "expected 4 to 64 bytes, a multiple of 4");
        let mut shapes = [0; 64];
        shapes[0] = 1;
        let mut register = 0;
        while register < 8 {
            let (rows, row_bytes) = match register {
                0..4 => (pixels, ROW_BYTES),
                4..6 => (pixels, bytes),
                _ => (bytes / 4, ROW_BYTES),
            };
            shapes[16 + 2 * register] = row_bytes as u8;
            shapes[48 + register] = rows as u8;
            register += 1;
        }
        Self(shapes)
    }

    /// Returns the shapes of this thread's registers. They are all zero if the registers are not configured.
    ///
    /// Panics if AMX is not available.
    #[inline(always)]
    fn current() -> Self {
        assert!(is_available(), "AMX is not available");
        let mut shapes = Self([0; 64]);
        // SAFETY: the processor has AMX, as checked above. The instruction writes 64 bytes, the size of the value.
        unsafe { asm!("sttilecfg [{}]", in(reg) &raw mut shapes, options(nostack, preserves_flags)) };
        shapes
    }
}

/// Tile registers of this thread, configured for blocks of `PIXELS` pixels and `BYTES` bytes per pixel.
pub struct Tiles<const PIXELS: usize, const BYTES: usize> {
    /// Makes the type neither `Send` nor `Sync`: the registers belong to one thread.
    thread: PhantomData<*const ()>,
}

impl<T: Copy> Src<'_, T> {
    /// Configures the tile registers of this thread, unless they have these shapes.
    ///
    /// The contract of [`new`](Self::new) also applies to the result: no code that changes the shapes may run before its
    /// last use.
    ///
    /// # Panics
    /// Panics if AMX is not available.
    #[inline(always)]
    pub fn tiles<const PIXELS: usize, const BYTES: usize>(self) -> Tiles<PIXELS, BYTES> {
        let shapes = const { Shapes::of(PIXELS, BYTES) };
        if Shapes::current() != shapes {
            // `ldtilecfg` takes about 80 ns, ten times as long as the comparison.
            // SAFETY: `current` has checked that the processor has AMX. The operand has 64 bytes and is valid.
            unsafe {
                asm!(
                    "ldtilecfg [{}]", in(reg) &raw const shapes,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, preserves_flags, readonly),
                )
            };
        }
        Tiles { thread: PhantomData }
    }
}

impl<const PIXELS: usize, const BYTES: usize> Tiles<PIXELS, BYTES> {
    /// Panics in debug builds if the registers do not have the shapes of this type.
    #[inline(always)]
    pub(super) fn check(&self) {
        #[cfg(debug_assertions)]
        assert!(Shapes::current() == Shapes::of(PIXELS, BYTES), "tile registers are configured for a different kernel");
    }
}

/// Releases the tile registers of this thread when it is dropped, so that the operating system need not save them.
pub struct ReleaseTiles;

impl Drop for ReleaseTiles {
    #[inline]
    fn drop(&mut self) {
        if is_available() {
            // SAFETY: the processor has AMX, as checked above. By the calling convention, no function relies on the registers
            // after a call of another one.
            unsafe {
                asm!(
                    "tilerelease",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nomem, nostack, preserves_flags),
                )
            };
        }
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
    // Not supported: other systems grant permission differently, and a program without `std` may run without a system.
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
