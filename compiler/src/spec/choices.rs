//! The words of a spec, and their values.

use super::{Activation, Color, Fusion, Isa, Numerics, Padding, Precision, Rounding};

pub(super) const INPUT: &[(&str, Color)] = &[(Color::Rgb.word(), Color::Rgb), (Color::Gray.word(), Color::Gray)];

pub(super) const PADDING: &[(&str, Padding)] =
    &[(Padding::Same.word(), Padding::Same), (Padding::Symmetric.word(), Padding::Symmetric)];

pub(super) const ACTIVATION: &[(&str, Activation)] =
    &[(Activation::Relu6.word(), Activation::Relu6), (Activation::Relu.word(), Activation::Relu)];

pub(super) const PRECISION: &[(&str, Precision)] = &[
    (Precision::F32.word(), Precision::F32),
    (Precision::Bf16.word(), Precision::Bf16),
    (Precision::Int8.word(), Precision::Int8),
    (Precision::Uint8.word(), Precision::Uint8),
];

pub(super) const NUMERICS: &[(&str, Numerics)] =
    &[(Numerics::Fast.name(), Numerics::Fast), (Numerics::Strict.name(), Numerics::Strict)];

/// `even` is IEEE 754's rounding to nearest, ties to even: the only one of float32.
pub(super) const ROUNDING: &[(&str, Option<Rounding>)] =
    &[("even", None), ("xnnpack", Some(Rounding::Xnnpack)), ("tflite-reference", Some(Rounding::TfliteReference))];

pub(super) const FUSION: &[(&str, Fusion)] =
    &[("none", Fusion::None), ("relu6", Fusion::Relu6), ("block", Fusion::Block), ("deep", Fusion::Deep)];

/// Best first, as help texts list them.
pub(super) const ISA: &[(&str, Isa)] = &[
    (Isa::AmxBf16.name(), Isa::AmxBf16),
    (Isa::Avx512Bf16.name(), Isa::Avx512Bf16),
    (Isa::Avx512Vnni.name(), Isa::Avx512Vnni),
    (Isa::AvxVnni.name(), Isa::AvxVnni),
    (Isa::Avx512.name(), Isa::Avx512),
    (Isa::Avx2.name(), Isa::Avx2),
    (Isa::NeonDot.name(), Isa::NeonDot),
    (Isa::Neon.name(), Isa::Neon),
    (Isa::Wasm128Dot.name(), Isa::Wasm128Dot),
    (Isa::Wasm128Pairs.name(), Isa::Wasm128Pairs),
    (Isa::Wasm128Relaxed.name(), Isa::Wasm128Relaxed),
    (Isa::Wasm128.name(), Isa::Wasm128),
    (Isa::Dsp.name(), Isa::Dsp),
    (Isa::Portable.name(), Isa::Portable),
];

impl Fusion {
    /// The word in specs.
    pub fn name(self) -> &'static str {
        FUSION.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// The word of a rounding, `even` for that of float32.
pub(super) fn rounding_word(rounding: Option<Rounding>) -> &'static str {
    ROUNDING.iter().find(|(_, value)| *value == rounding).map_or("", |(word, _)| word)
}
