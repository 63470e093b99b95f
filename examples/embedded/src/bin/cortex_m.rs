//! Runs both networks on a Cortex-M and prints the predicted classes.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(all(target_arch = "arm", target_os = "none")))]
fn main() {
    println!(
        "this program runs on Cortex-M only; run `cargo run --release` in examples/embedded, where .cargo/config.toml \
         selects the target"
    );
}

#[cfg(all(target_arch = "arm", target_os = "none"))]
mod firmware {
    use cortex_m_rt::entry;
    use cortex_m_semihosting::debug::{self, EXIT_SUCCESS};
    use cortex_m_semihosting::hprintln;
    use mbvc::{Scratch, Steps};
    use mbvc_embedded_example::{Color, Gray, best, ramp};
    use panic_semihosting as _;
    use static_cell::ConstStaticCell;

    // One scratch for each network. Networks that never run at the same time can share the larger one.
    static COLOR_SCRATCH: ConstStaticCell<Scratch<{ Color::SCRATCH_BYTES / 64 }>> =
        ConstStaticCell::new(Color::static_scratch());
    static GRAY_SCRATCH: ConstStaticCell<Scratch<{ Gray::SCRATCH_BYTES / 64 }>> =
        ConstStaticCell::new(Gray::static_scratch());

    // Replace these images with your camera's buffers.
    static COLORS: [u8; 64 * 64 * 3] = ramp();
    static GRAYS: [u8; 96 * 96] = ramp();

    #[entry]
    fn main() -> ! {
        let (color, gray) = (Color::embedded().expect("packed weights"), Gray::embedded().expect("packed weights"));

        // Step by step: the program does other work in between.
        let mut call: Steps<'_, Color> = color.steps(COLOR_SCRATCH.take(), &COLORS);
        let mut resets = 0;
        while call.advance() {
            reset_watchdog(&mut resets);
        }
        let logits = call.finish();
        hprintln!("color: class {} after {} steps, {} bytes of scratch", best(&logits), resets, Color::SCRATCH_BYTES);

        // In one call.
        let logits = gray.run_pixels(GRAY_SCRATCH.take(), &GRAYS);
        hprintln!("gray: class {}, {} bytes of scratch", best(&logits), Gray::SCRATCH_BYTES);

        debug::exit(EXIT_SUCCESS);
        loop {
            cortex_m::asm::wfi();
        }
    }

    /// Placeholder for the board's watchdog.
    fn reset_watchdog(resets: &mut usize) {
        *resets += 1;
    }
}
