//! Networks whose weights are published, at fusion level `block`: those of TensorFlow, `keras.applications` and torchvision.

use mbvc::Network;
use mbvc_compiler::SourceFile;
use mbvc_compiler::spec::{self, DEFAULT_ROUNDING, Fusion, NetworkSpec, Overrides, Precision, Preprocessing, Words};

use super::{Carried, SPEC, SPEC_NAME};

const TORCHVISION: &str = include_str!("../specs/v2_torchvision.yaml");

/// 1001 classes.
mod tensorflow {
    pub mod float {
        mbvc::mobilenet_v2!(pub "specs/v2.yaml");
    }
    pub mod bf16 {
        mbvc::mobilenet_v2!(pub "specs/v2.yaml", precision = "bf16");
    }
    pub mod int8 {
        mbvc::mobilenet_v2!(pub "specs/v2.yaml", precision = "int8");
    }
    pub mod uint8 {
        mbvc::mobilenet_v2!(pub "specs/v2.yaml", precision = "uint8");
    }
}

/// 1000 classes.
mod keras {
    pub mod float {
        mbvc::mobilenet_v2!(pub "specs/v2.yaml", classes = 1000);
    }
    pub mod int8 {
        mbvc::mobilenet_v2!(pub "specs/v2.yaml", classes = 1000, precision = "int8");
    }
}

/// 1000 classes, and the padding of PyTorch.
mod torchvision {
    pub mod float {
        mbvc::mobilenet_v2!(pub "specs/v2_torchvision.yaml", name = MobileNetV2);
    }
    pub mod int8 {
        mbvc::mobilenet_v2!(pub "specs/v2_torchvision.yaml", name = MobileNetV2, precision = "int8");
    }
}

/// Implements [`super::find`].
pub fn find(spec: &NetworkSpec, fusion: Fusion) -> Option<Carried> {
    macro_rules! carried {
        ($publisher:ident $precision:ident) => {{
            use $publisher::$precision::MobileNetV2 as Found;
            Carried {
                info: Found::INFO,
                build: |weights, isa| match isa {
                    Some(isa) => Found::with_isa(weights, isa).map(boxed),
                    None => Found::new(weights).map(boxed),
                },
                packed_bytes_for: Found::packed_bytes_for,
                pack: Found::pack,
                from_packed: |file| Found::from_packed(file).map(boxed),
            }
        }};
    }
    let is = |text: &str, classes: &str| {
        let mut overrides = Overrides::new(Words::Macro);
        overrides.set("classes", classes);
        let published = spec::parse_with(&SourceFile::new(SPEC_NAME, text), &overrides);
        published.is_ok_and(|published| essence(&published) == essence(spec))
    };
    let found = match spec.precision {
        _ if fusion != Fusion::Block => return None,
        Precision::F32 if is(SPEC, "1001") => carried!(tensorflow float),
        Precision::Bf16 if is(SPEC, "1001") => carried!(tensorflow bf16),
        Precision::Int8 if is(SPEC, "1001") => carried!(tensorflow int8),
        Precision::Uint8 if is(SPEC, "1001") => carried!(tensorflow uint8),
        Precision::F32 if is(SPEC, "1000") => carried!(keras float),
        Precision::Int8 if is(SPEC, "1000") => carried!(keras int8),
        Precision::F32 if is(TORCHVISION, "1000") => carried!(torchvision float),
        Precision::Int8 if is(TORCHVISION, "1000") => carried!(torchvision int8),
        _ => return None,
    };
    Some(found)
}

fn boxed(network: impl Network + 'static) -> Box<dyn Network> {
    Box::new(network)
}

/// Returns the part of the spec that the generated kernels depend on: without names, lines, values that commands choose, and
/// values that are part of the weights.
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
    // Preprocessing and the folded batch normalization are part of the weights. `Network` has no batched call.
    spec.preprocessing = Preprocessing::from_range(-1.0, 1.0);
    spec.batch_norm_epsilon = 0.0;
    spec.batch = 1;
    spec
}
