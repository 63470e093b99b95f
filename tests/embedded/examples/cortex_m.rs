//! The check on a bare Cortex-M4 with FPU; result and text go out by semihosting.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("for thumbv7em-none-eabihf only");
}

#[cfg(target_os = "none")]
#[path = "../board.rs"]
mod board;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::fmt::Write;

    let _ = writeln!(board::Host, "{info}");
    board::exit(3)
}

#[cfg(target_os = "none")]
#[inline(never)]
fn run() -> ! {
    use core::fmt::Write;
    use core::ptr::addr_of_mut;

    use board::{Host, exit, with_stack};
    use mbvc_embedded_test::{Memory, check};

    static mut MEMORY: Memory = Memory::ZERO;
    // SAFETY: the only reference, created once.
    let memory = unsafe { &mut *addr_of_mut!(MEMORY) };
    // With little optimization, and with the images that `check` makes.
    const STACK: usize = 24 * 1024;
    let (checked, stack) = with_stack(|| check(memory));
    match checked {
        Ok(()) if stack > STACK => {
            let _ = writeln!(Host, "{stack} bytes of stack, more than {STACK}");
            exit(1)
        }
        Ok(()) => {
            let _ = writeln!(Host, "bit-exact with the host, with {stack} bytes of stack");
            exit(0)
        }
        Err(failure) => {
            let _ = writeln!(Host, "{failure:?}");
            exit(1)
        }
    }
}
