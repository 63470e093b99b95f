//! A bare Cortex-M4 with FPU: the vector table, the reset that clears memory, and text and exit codes by semihosting.
//! <https://github.com/ARM-software/abi-aa/blob/main/semihosting/semihosting.rst>

use core::arch::asm;
use core::fmt;
use core::ptr::{addr_of_mut, read_volatile, write_volatile};

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
    super::run()
}

extern "C" fn fault() -> ! {
    Host.print("fault\n");
    exit(2)
}

/// Runs `work`, and returns the bytes of stack that it wrote: the stack is filled with a pattern before, and searched for
/// the last changed word after.
#[inline(never)]
pub fn with_stack<R>(work: impl FnOnce() -> R) -> (R, usize) {
    const WORDS: usize = 64 * 1024;
    const PATTERN: u32 = 0xa55a_c33c;
    let top: *mut u32;
    // SAFETY: a copy of the stack pointer.
    unsafe { asm!("mov {}, sp", out(reg) top, options(nomem, nostack, preserves_flags)) };
    for word in 1..=WORDS {
        // SAFETY: the stack ends at the top of 4 MB of memory, of which the statics use less than half; what is below the
        // stack pointer belongs to no function, and there are no interrupts.
        unsafe { write_volatile(top.wrapping_sub(word), PATTERN) };
    }
    let result = work();
    // SAFETY: as above.
    let is_unchanged = |word: &usize| unsafe { read_volatile(top.wrapping_sub(*word)) } == PATTERN;
    let used = (1..=WORDS).rev().find(|word| !is_unchanged(word)).unwrap_or(0);
    (result, used * size_of::<u32>())
}

/// Text output.
pub struct Host;

impl Host {
    pub fn print(&self, text: impl AsRef<[u8]>) {
        const SYS_WRITEC: u32 = 3;
        text.as_ref().iter().for_each(|byte| semihosting(SYS_WRITEC, &raw const *byte as u32));
    }
}

impl fmt::Write for Host {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.print(text);
        Ok(())
    }
}

/// Ends the emulation with an exit code.
pub fn exit(code: u32) -> ! {
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
