//! The networks that the command `mbvc` carries: `v2.yaml`, at each fusion level of floats, and quantized.
//!
//! A library, because these take minutes to compile: changes of the commands leave it alone.

#[path = "networks/demo.rs"]
pub mod demo;

use mbvc::errors::ModelError;
use mbvc::{Isa, Network, Weights};
use mbvc_compiler::spec::{Fusion, Precision};

/// The built-in spec; where it comes from is what its users see in messages.
pub const SPEC: &str = include_str!("../specs/v2.yaml");
pub const SPEC_NAME: &str = "v2.yaml (built in)";

mbvc::mobilenet_v2!("specs/v2.yaml", name = V2None, fusion = "none");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Relu6, fusion = "relu6");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Block, fusion = "block");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Int8, precision = "int8");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Uint8, precision = "uint8");

/// Whether the command carries the network at that level.
pub fn has(precision: Precision, fusion: Fusion) -> bool {
    match precision {
        Precision::F32 => fusion != Fusion::Deep,
        Precision::Int8 | Precision::Uint8 => fusion == Fusion::Block,
    }
}

/// Binds weights; `isa` names the kernels, `None` takes the processor's best.
///
/// # Errors
/// If the weights are of another network, or the instruction set is missing.
pub fn build(
    precision: Precision,
    fusion: Fusion,
    weights: &Weights,
    isa: Option<Isa>,
) -> Result<Box<dyn Network>, ModelError> {
    macro_rules! build {
        ($network:ident) => {
            Box::new(match isa {
                Some(isa) => $network::with_isa(weights, isa)?,
                None => $network::new(weights)?,
            })
        };
    }
    Ok(match (precision, fusion) {
        (Precision::F32, Fusion::None) => build!(V2None),
        (Precision::F32, Fusion::Relu6) => build!(V2Relu6),
        (Precision::F32, _) => build!(V2Block),
        (Precision::Int8, _) => build!(V2Int8),
        (Precision::Uint8, _) => build!(V2Uint8),
    })
}
