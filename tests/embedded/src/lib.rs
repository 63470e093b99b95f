//! A small network with packed weights in read-only memory: no heap, no operating system.
#![no_std]
#![forbid(unsafe_code)]

mod image;

use mbvc::errors::PackedError;

mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", weights = "$OUT_DIR/tiny.packed");

static EXPECTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tiny.logits"));

/// Scratch of the calls.
pub type Scratch = mbvc::Scratch<{ TinyNet::SCRATCH_BYTES / 64 }>;

/// Difference from the host's result.
#[derive(Debug)]
pub enum Failure {
    Weights(PackedError),
    /// Index of a logit, its bits here, its bits on the host.
    Logit(usize, u32, u32),
}

/// Runs the network on a fixed image. The portable kernels round every operation as IEEE 754 defines, so the result of
/// any target must be bit-exact with the host's.
pub fn check(scratch: &mut Scratch) -> Result<(), Failure> {
    let model = TinyNet::embedded().map_err(Failure::Weights)?;
    let logits = model.run_pixels(scratch, &image::pixels());
    let expected = EXPECTED.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    for (index, (here, host)) in logits.iter().map(|logit| logit.to_bits()).zip(expected).enumerate() {
        if here != host {
            return Err(Failure::Logit(index, here, host));
        }
    }
    Ok(())
}
