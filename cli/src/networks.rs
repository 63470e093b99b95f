//! The networks that the command carries: `v2.yaml`, at each fusion level.

use mbvc::{Isa, ModelError, Network, Weights};

use crate::options::FusionArg;

/// The built-in spec; where it comes from is what its users see in messages.
pub const SPEC: &str = include_str!("../specs/v2.yaml");
pub const SPEC_NAME: &str = "v2.yaml (built in)";

mbvc::mobilenet_v2!("specs/v2.yaml", name = V2None, fusion = "none");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Relu6, fusion = "relu6");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Block, fusion = "block");

/// Binds weights; `isa` names the kernels, `None` takes the processor's best.
///
/// # Errors
/// If the weights are of another network, or the instruction set is missing.
pub fn build(fusion: FusionArg, weights: &Weights, isa: Option<Isa>) -> Result<Box<dyn Network>, ModelError> {
    macro_rules! build {
        ($network:ident) => {
            Box::new(match isa {
                Some(isa) => $network::with_isa(weights, isa)?,
                None => $network::new(weights)?,
            })
        };
    }
    Ok(match fusion {
        FusionArg::None => build!(V2None),
        FusionArg::Relu6 => build!(V2Relu6),
        FusionArg::Block => build!(V2Block),
    })
}
