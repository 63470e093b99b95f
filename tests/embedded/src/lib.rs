//! Small networks with packed weights in read-only memory: no heap, no operating system.
#![no_std]
#![forbid(unsafe_code)]

mod image;

use mbvc::errors::PackedError;

mbvc::mobilenet_v2!(
    "../../specs/tiny.yaml",
    numerics = "strict",
    isa = [wasm128relaxed, wasm128, portable],
    weights = "$OUT_DIR/f32.packed"
);
mbvc::mobilenet_v2!(
    "../../specs/tiny.yaml",
    name = TinyInt8,
    precision = "int8",
    isa = [wasm128, dsp, portable],
    weights = "$OUT_DIR/int8.packed"
);
mbvc::mobilenet_v2!(
    "../../specs/tiny.yaml",
    name = TinyUint8,
    precision = "uint8",
    isa = [wasm128, dsp, portable],
    weights = "$OUT_DIR/uint8.packed"
);
mbvc::mobilenet_v2!(
    "../../specs/tiny.yaml",
    name = TinyReference,
    precision = "uint8",
    rounding = "tflite-reference",
    resolution = [29, 27],
    isa = [wasm128, dsp, portable],
    weights = "$OUT_DIR/reference.packed"
);

/// Memory of the calls.
pub struct Memory {
    f32: mbvc::Scratch<{ TinyNet::SCRATCH_BYTES / 64 }>,
    int8: mbvc::Scratch<{ TinyInt8::SCRATCH_BYTES / 64 }>,
    uint8: mbvc::Scratch<{ TinyUint8::SCRATCH_BYTES / 64 }>,
    reference: mbvc::Scratch<{ TinyReference::SCRATCH_BYTES / 64 }>,
}

impl Memory {
    /// Zeros, for a `static`.
    pub const ZERO: Self = Self {
        f32: TinyNet::static_scratch(),
        int8: TinyInt8::static_scratch(),
        uint8: TinyUint8::static_scratch(),
        reference: TinyReference::static_scratch(),
    };
}

/// Difference from the host's result.
#[derive(Debug)]
pub enum Failure {
    Weights(PackedError),
    /// Index of the network and of the logit, its bits here, its bits on the host.
    Logit(usize, usize, u32, u32),
}

/// Runs the networks on a fixed image. Portable kernels and those of SIMD128 round every operation as IEEE 754 defines,
/// and strict kernels with fused multiply-adds round all alike, so results must be bit-exact with the host's.
pub fn check(memory: &mut Memory) -> Result<(), Failure> {
    let model = TinyNet::embedded().map_err(Failure::Weights)?;
    let logits = model.run_pixels(&mut memory.f32, &image::pixels());
    compare(0, logits.map(f32::to_bits), include_bytes!(concat!(env!("OUT_DIR"), "/f32.logits")))?;

    let model = TinyInt8::embedded().map_err(Failure::Weights)?;
    let logits = model.run_pixels(&mut memory.int8, &image::pixels());
    let bits = logits.map(|logit| u32::from(logit.cast_unsigned()));
    compare(1, bits, include_bytes!(concat!(env!("OUT_DIR"), "/int8.logits")))?;

    let model = TinyUint8::embedded().map_err(Failure::Weights)?;
    let logits = model.run_pixels(&mut memory.uint8, &image::pixels());
    compare(2, logits.map(u32::from), include_bytes!(concat!(env!("OUT_DIR"), "/uint8.logits")))?;

    let model = TinyReference::embedded().map_err(Failure::Weights)?;
    let logits = model.run_pixels(&mut memory.reference, &image::pixels());
    compare(3, logits.map(u32::from), include_bytes!(concat!(env!("OUT_DIR"), "/reference.logits")))
}

fn compare(network: usize, logits: [u32; 10], expected: &[u8; 40]) -> Result<(), Failure> {
    let expected = expected.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    for (index, (here, host)) in logits.into_iter().zip(expected).enumerate() {
        if here != host {
            return Err(Failure::Logit(network, index, here, host));
        }
    }
    Ok(())
}
