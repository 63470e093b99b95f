//! Classifies an image with @network@ on a Cortex-M, without a heap or an operating system.
#![no_std]
#![no_main]

mod labels;

use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hprintln;
use network::@network@;
use panic_semihosting as _;
use static_cell::ConstStaticCell;

/// Memory of the calls.
static SCRATCH: ConstStaticCell<network::mbvc_runtime::Scratch<{ @network@::SCRATCH_BYTES / 64 }>> =
    ConstStaticCell::new(@network@::static_scratch());

/// An image of @height@x@width@ pixels: @colors@ bytes, row by row. Replace it with your camera's buffer.
static PIXELS: [u8; @bytes@] = ramp();

#[entry]
fn main() -> ! {
    let scratch = SCRATCH.take();
    let model = match @network@::embedded() {
        Ok(model) => model,
        Err(error) => {
            hprintln!("{}", error);
            debug::exit(EXIT_FAILURE);
            loop {}
        }
    };
    let mut call = model.steps(scratch, &PIXELS);
    while call.advance() {
        // Other work can run here between two of the @steps@ steps: reset a watchdog, serve a queue.
    }
    let logits = call.finish();
    let best = (0..logits.len()).max_by(|a, b| @compare@).unwrap_or(0);
    hprintln!("class {} ({}): logit {} on {}", best, labels::LABELS[best], logits[best], model.isa());
    debug::exit(EXIT_SUCCESS);
    loop {}
}

/// An image that gets brighter from byte to byte.
const fn ramp() -> [u8; @bytes@] {
    let mut pixels = [0; @bytes@];
    let mut at = 0;
    while at < pixels.len() {
        pixels[at] = (at * 255 / pixels.len()) as u8;
        at += 1;
    }
    pixels
}
