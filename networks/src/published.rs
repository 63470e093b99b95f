//! The network of `v2.yaml`: each fusion level of float32, and streamed blocks of bf16, int8 and uint8.

use mbvc::errors::ModelError;
use mbvc::{Isa, Network, Weights};
use mbvc_compiler::SourceFile;
use mbvc_compiler::spec::{self, DEFAULT_ROUNDING, Fusion, NetworkSpec, Precision};

use super::{Build, SPEC, SPEC_NAME};

mbvc::mobilenet_v2!("specs/v2.yaml", name = V2None, fusion = "none");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Relu6, fusion = "relu6");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Block, fusion = "block");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Bf16, precision = "bf16");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Int8, precision = "int8");
mbvc::mobilenet_v2!("specs/v2.yaml", name = V2Uint8, precision = "uint8");

/// Implements [`super::find`].
pub fn find(spec: &NetworkSpec, fusion: Fusion) -> Option<Build> {
    macro_rules! builds {
        ($network:ident) => {
            |weights, isa| build($network::with_isa, $network::new, weights, isa)
        };
    }
    let found: Build = match (spec.precision, fusion) {
        (Precision::F32, Fusion::None) => builds!(V2None),
        (Precision::F32, Fusion::Relu6) => builds!(V2Relu6),
        (Precision::F32, Fusion::Block) => builds!(V2Block),
        (Precision::Bf16, Fusion::Block) => builds!(V2Bf16),
        (Precision::Int8, Fusion::Block) => builds!(V2Int8),
        (Precision::Uint8, Fusion::Block) => builds!(V2Uint8),
        _ => return None,
    };
    let published = spec::parse(&SourceFile::new(SPEC_NAME, SPEC)).ok()?;
    (essence(&published) == essence(spec)).then_some(found)
}

/// Implements [`Build`] for a generated type.
fn build<N: Network + 'static>(
    with_isa: fn(&Weights, Isa) -> Result<N, ModelError>,
    new: fn(&Weights) -> Result<N, ModelError>,
    weights: &Weights,
    isa: Option<Isa>,
) -> Result<Box<dyn Network>, ModelError> {
    Ok(Box::new(match isa {
        Some(isa) => with_isa(weights, isa)?,
        None => new(weights)?,
    }))
}

/// The spec without what the generated kernels do not depend on: names, lines, and what commands choose.
fn essence(spec: &NetworkSpec) -> NetworkSpec {
    let mut spec = spec.clone();
    spec.name.clear();
    spec.stem.line = 0;
    spec.head.line = 0;
    spec.blocks.iter_mut().for_each(|row| row.line = 0);
    spec.fusion = Fusion::Block;
    spec.isas.clear();
    spec.scratch_budget = None;
    // Each precision is included once, with its default rounding.
    if spec.rounding == Some(DEFAULT_ROUNDING) {
        spec.rounding = None;
    }
    spec.precision = Precision::F32;
    spec.precision_place = None;
    spec
}
