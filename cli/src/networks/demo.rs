//! The demo's network with its weights, and pictures to show it.

use mbvc::errors::{ModelError, WeightsError};
use mbvc::{Network, Weights};

mbvc::mobilenet_v2!("specs/demo.yaml", name = DemoBlock);
mbvc::mobilenet_v2!("specs/demo.yaml", name = DemoNone, fusion = "none");
mbvc::mobilenet_v2!("specs/demo.yaml", name = DemoInt8, precision = "int8");

/// Icons of a family that the network was not trained on (Microsoft's Fluent emoji, MIT): name of the file, which tells what it
/// shows, and its bytes.
pub const SAMPLES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// The weights of float32.
///
/// # Errors
/// If they are no container: a mistake of this package.
pub fn weights() -> Result<Weights, WeightsError> {
    Weights::from_static(include_bytes!("../../demo/model.safetensors"))
}

/// Those of int8.
///
/// # Errors
/// As [`weights`].
pub fn quantized_weights() -> Result<Weights, WeightsError> {
    Weights::from_static(include_bytes!("../../demo/model-int8.safetensors"))
}

/// What the demo compares.
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
/// If the weights are of another network, or `MBVC_ISA` names an instruction set that is missing.
pub fn build(variant: &Variant, weights: &Weights) -> Result<Box<dyn Network>, ModelError> {
    Ok(match variant {
        Variant::Fused => Box::new(DemoBlock::new(weights)?),
        Variant::Unfused => Box::new(DemoNone::new(weights)?),
        Variant::Quantized => Box::new(DemoInt8::new(weights)?),
    })
}
