//! The demo's network with its weights, and pictures to classify.

pub use mbvc::__demo::SAMPLES;
use mbvc::errors::{ModelError, WeightsError};
use mbvc::{__demo as files, Network, Weights};

mbvc::mobilenet_v2!(
    /// Streamed blocks of float32.
    pub "specs/demo.yaml", name = DemoBlock
);
mbvc::mobilenet_v2!("specs/demo.yaml", name = DemoNone, fusion = "none");
// Omits AVX-512 without VNNI, which would take a fifth of this crate's compile time: such processors run AVX2 kernels.
mbvc::mobilenet_v2!(
    /// Streamed blocks of int8.
    pub "specs/demo.yaml", name = DemoInt8, precision = "int8",
    isa = ["portable", "avx2", "avxvnni", "avx512vnni", "neon", "neondot"]
);

/// Weights of float32.
///
/// # Errors
/// If they are not a valid weights file, which is a defect of this package.
pub fn weights() -> Result<Weights, WeightsError> {
    Weights::from_static(files::MODEL)
}

/// Weights of int8.
///
/// # Errors
/// See [`weights`].
pub fn quantized_weights() -> Result<Weights, WeightsError> {
    Weights::from_static(files::MODEL_INT8)
}

/// Networks that the demo compares.
pub enum Variant {
    /// Streamed blocks, the default.
    Fused,
    /// Layer by layer.
    Unfused,
    /// Streamed blocks of int8.
    Quantized,
}

/// Binds weights, those of int8 to the quantized variant.
///
/// # Errors
/// If the weights do not fit, or `MBVC_ISA` names an instruction set that this processor lacks.
pub fn build(variant: &Variant, weights: &Weights) -> Result<Box<dyn Network>, ModelError> {
    Ok(match variant {
        Variant::Fused => Box::new(DemoBlock::new(weights)?),
        Variant::Unfused => Box::new(DemoNone::new(weights)?),
        Variant::Quantized => Box::new(DemoInt8::new(weights)?),
    })
}
