//! The check as a WebAssembly module: `check` returns 0 if the logits are bit-exact with the host's.
#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(target_arch = "wasm32")]
mod target {
    use core::ptr::addr_of_mut;

    use mbvc_embedded_test::{Failure, Scratch, TinyNet, check};

    #[unsafe(export_name = "check")]
    extern "C" fn entry() -> u32 {
        static mut SCRATCH: Scratch = TinyNet::static_scratch();
        // SAFETY: WebAssembly without threads; the caller does not call again while it runs.
        match check(unsafe { &mut *addr_of_mut!(SCRATCH) }) {
            Ok(()) => 0,
            Err(Failure::Logit(index, ..)) => 1 + index as u32,
            Err(Failure::Weights(_)) => u32::MAX,
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
