//! A small network with packed weights in read-only memory: no heap, no operating system.
#![no_std]
#![forbid(unsafe_code)]

mod image;

use mbvc::errors::PackedError;

mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", weights = "$OUT_DIR/tiny.packed");

static EXPECTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tiny.logits"));

/// Memory that a call works in.
pub type Scratch = mbvc::Scratch<{ TinyNet::SCRATCH_BYTES / 64 }>;

/// What differs from the host's answer.
#[derive(Debug)]
pub enum Failure {
    Weights(PackedError),
    /// Index of a logit, its bits here, its bits on the host.
    Logit(usize, u32, u32),
}

/// Runs the network on a fixed image. The portable kernels round every operation as IEEE 754 says, so that even a
/// target without fused multiplication must answer with the host's bits.
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
