//! The words of a spec, and what they mean.

use super::{ActivationKind, Fusion, Isa, Numerics, PaddingConvention, Precision, Rounding};

pub(super) const PADDING: &[(&str, PaddingConvention)] =
    &[("same", PaddingConvention::Same), ("symmetric", PaddingConvention::Symmetric)];

pub(super) const ACTIVATION: &[(&str, ActivationKind)] =
    &[("relu6", ActivationKind::Relu6), ("relu", ActivationKind::Relu)];

pub(super) const PRECISION: &[(&str, Precision)] =
    &[("f32", Precision::F32), ("int8", Precision::Int8), ("uint8", Precision::Uint8)];

pub(super) const NUMERICS: &[(&str, Numerics)] = &[("fast", Numerics::Fast), ("strict", Numerics::Strict)];

pub(super) const ROUNDING: &[(&str, Rounding)] =
    &[("even", Rounding::Even), ("xnnpack", Rounding::Xnnpack), ("tflite-reference", Rounding::TfliteReference)];

pub(super) const FUSION: &[(&str, Fusion)] =
    &[("none", Fusion::None), ("relu6", Fusion::Relu6), ("block", Fusion::Block), ("deep", Fusion::Deep)];

pub(super) const ISA: &[(&str, Isa)] = &[
    ("avx512vnni", Isa::Avx512Vnni),
    ("avxvnni", Isa::AvxVnni),
    ("avx512", Isa::Avx512),
    ("avx2", Isa::Avx2),
    ("neondot", Isa::NeonDot),
    ("neon", Isa::Neon),
    ("portable", Isa::Portable),
];
pub(super) const PLANNED_ISA: &[&str] = &["wasm"];

macro_rules! names {
    ($($type:ty: $words:ident),* $(,)?) => {
        $(impl $type {
            /// The word that stands for it in a spec.
            pub fn name(self) -> &'static str {
                $words.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
            }
        })*
    };
}

names! {
    PaddingConvention: PADDING,
    ActivationKind: ACTIVATION,
    Precision: PRECISION,
    Numerics: NUMERICS,
    Rounding: ROUNDING,
    Fusion: FUSION,
    Isa: ISA,
}
