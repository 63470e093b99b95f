//! The check as a WebAssembly module: `check` returns 0 if the logits are bit-exact with the host's.
#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(target_arch = "wasm32")]
mod target {
    use core::ptr::addr_of_mut;

    use mbvc_embedded_test::{Failure, Memory, check};

    #[unsafe(export_name = "check")]
    extern "C" fn entry() -> u32 {
        static mut MEMORY: Memory = Memory::ZERO;
        // SAFETY: WebAssembly without threads; the caller does not call again while it runs.
        match check(unsafe { &mut *addr_of_mut!(MEMORY) }) {
            Ok(()) => 0,
            Err(Failure::Logit(network, index, ..)) => (100 * network + index + 1) as u32,
            Err(Failure::Weights(_)) => u32::MAX,
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
