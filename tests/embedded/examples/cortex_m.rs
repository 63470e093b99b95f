//! The check on a bare Cortex-M4 with FPU; result and text go out by semihosting.
//! <https://github.com/ARM-software/abi-aa/blob/main/semihosting/semihosting.rst>
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("for thumbv7em-none-eabihf only");
}

#[cfg(target_os = "none")]
mod target {
    use core::arch::asm;
    use core::fmt::{self, Write};
    use core::ptr::{addr_of_mut, write_volatile};

    use mbvc_embedded_test::{Memory, check};

    unsafe extern "C" {
        static stack_top: u8;
        static mut bss_start: u32;
        static mut bss_end: u32;
    }

    #[repr(C)]
    struct Vectors {
        stack: *const u8,
        reset: extern "C" fn() -> !,
        faults: [extern "C" fn() -> !; 14],
    }

    // SAFETY: addresses only, never written.
    unsafe impl Sync for Vectors {}

    #[used]
    #[unsafe(link_section = ".vectors")]
    static VECTORS: Vectors = Vectors { stack: &raw const stack_top, reset, faults: [fault; 14] };

    #[unsafe(no_mangle)]
    extern "C" fn reset() -> ! {
        const CPACR: *mut u32 = 0xe000_ed88 as *mut u32;
        // SAFETY: nothing else runs yet; the linker script gives .bss whole words.
        unsafe {
            let mut word = addr_of_mut!(bss_start);
            while word < addr_of_mut!(bss_end) {
                write_volatile(word, 0);
                word = word.add(1);
            }
            // Full access to the FPU, which the compiler uses from the next function on.
            write_volatile(CPACR, 0xf << 20);
            asm!("dsb", "isb");
        }
        run()
    }

    #[inline(never)]
    fn run() -> ! {
        static mut MEMORY: Memory = Memory::ZERO;
        // SAFETY: the only reference, created once.
        let memory = unsafe { &mut *addr_of_mut!(MEMORY) };
        match check(memory) {
            Ok(()) => {
                let _ = writeln!(Host, "the bits of the host");
                exit(0)
            }
            Err(failure) => {
                let _ = writeln!(Host, "{failure:?}");
                exit(1)
            }
        }
    }

    extern "C" fn fault() -> ! {
        let _ = writeln!(Host, "fault");
        exit(2)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        let _ = writeln!(Host, "{info}");
        exit(3)
    }

    struct Host;

    impl Write for Host {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            const SYS_WRITEC: u32 = 3;
            text.bytes().for_each(|byte| semihosting(SYS_WRITEC, &raw const byte as u32));
            Ok(())
        }
    }

    fn exit(code: u32) -> ! {
        const SYS_EXIT_EXTENDED: u32 = 0x20;
        const APPLICATION_EXIT: u32 = 0x20026;
        let block = [APPLICATION_EXIT, code];
        loop {
            semihosting(SYS_EXIT_EXTENDED, block.as_ptr() as u32);
        }
    }

    fn semihosting(operation: u32, argument: u32) {
        // SAFETY: the debugger's call of the architecture; it reads what `argument` points to.
        unsafe { asm!("bkpt #0xab", inout("r0") operation => _, in("r1") argument, options(nostack)) }
    }
}
