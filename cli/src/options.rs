//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use mbvc::info::Numerics;
use mbvc::{Isa, Weights};
use mbvc_compiler::spec::{Fusion, Overrides, Words};
use mbvc_engine::artifact::Kind;

/// The EXAMPLES section of a command's help.
macro_rules! examples {
    ($($line:literal),+ $(,)?) => {
        concat!("\x1b[1mExamples:\x1b[0m" $(, "\n  ", $line)+)
    };
}
pub(crate) use examples;

/// A spec as a positional argument.
#[derive(clap::Args)]
pub struct SpecArgs {
    /// Spec of the network [default: the built-in MobileNetV2 1.0 at 224x224, 1001 classes]
    #[arg(value_name = "SPEC")]
    pub spec: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

/// A spec as an option, for commands with other positional arguments.
#[derive(clap::Args)]
pub struct SpecOption {
    /// Spec of the network [default: the built-in MobileNetV2 1.0 at 224x224, 1001 classes]
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

impl SpecArgs {
    /// The file of the spec, if one was given.
    pub fn inputs(&self) -> Vec<&Path> {
        self.spec.iter().map(PathBuf::as_path).collect()
    }

    /// As [`SpecOption::overrides_for`].
    pub fn overrides_for(&self, weights: &Weights) -> Overrides {
        overrides_for(self.spec.is_none(), &self.overrides, Some(weights))
    }
}

impl SpecOption {
    /// Whether neither a spec nor an override is given.
    pub fn is_default(&self) -> bool {
        self.spec.is_none() && self.overrides.overrides().is_empty()
    }

    /// The values that override the spec's. The built-in spec gets the precision of the weights unless an option sets
    /// another.
    pub fn overrides_for(&self, weights: Option<&Weights>) -> Overrides {
        overrides_for(self.spec.is_none(), &self.overrides, weights)
    }
}

fn overrides_for(built_in: bool, given: &OverrideArgs, weights: Option<&Weights>) -> Overrides {
    let mut overrides = given.overrides();
    if let Some(weights) = weights.filter(|_| built_in && given.precision.is_none()) {
        overrides.set("precision", weights.conventions().precision.word());
    }
    overrides
}

/// The option of commands that write files.
#[derive(clap::Args)]
pub struct ForceArgs {
    /// Overwrite existing files
    #[arg(long)]
    pub force: bool,
}

/// The network that a command runs, and its kernels.
#[derive(clap::Args)]
pub struct NetworkArgs {
    /// Fusion level [default: the spec's]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub fusion: Option<FusionArg>,
    /// Instruction set [default: the widest of this processor]
    #[arg(long, value_enum)]
    pub isa: Option<IsaArg>,
    #[command(flatten)]
    pub spec: SpecOption,
}

/// Values that override the spec's.
#[derive(clap::Args)]
#[command(next_help_heading = "Overrides of the spec")]
pub struct OverrideArgs {
    /// Width multiplier
    #[arg(long, allow_negative_numbers = true)]
    pub width: Option<String>,
    /// Height and width in pixels, one number or HxW
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true)]
    pub resolution: Option<String>,
    /// Number of classes
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub classes: Option<String>,
    /// Number type: f32, bf16, int8 or uint8
    #[arg(long)]
    pub precision: Option<String>,
}

impl OverrideArgs {
    /// The compiler checks them together with the spec.
    pub fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::new(Words::Command);
        if let Some(width) = &self.width {
            overrides.set("width", width);
        }
        if let Some(resolution) = &self.resolution {
            overrides.set("resolution", resolution);
        }
        if let Some(classes) = &self.classes {
            overrides.set("classes", classes);
        }
        if let Some(precision) = &self.precision {
            overrides.set("precision", precision);
        }
        overrides
    }
}

impl OverrideArgs {
    /// The given options as text: `--width 0.5`.
    pub fn given(&self) -> String {
        let options = [
            ("width", &self.width),
            ("resolution", &self.resolution),
            ("classes", &self.classes),
            ("precision", &self.precision),
        ];
        let given = options.iter().filter_map(|(name, value)| Some(format!("--{name} {}", value.as_deref()?)));
        given.collect::<Vec<_>>().join(" ")
    }
}

/// Parses `224` or `192x224`.
pub fn parse_resolution(text: &str) -> Result<[usize; 2], String> {
    let number = |text: &str| {
        text.trim()
            .parse()
            .map_err(|_| format!("`{text}` is not a number of pixels, expected 224, or 192x224 (height x width)"))
    };
    match text.split_once(['x', 'X', '×']) {
        Some((height, width)) => Ok([number(height)?, number(width)?]),
        None => number(text).map(|size| [size, size]),
    }
}

/// Fusion level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FusionArg {
    /// No fusion; same as relu6 for quantized networks
    None,
    /// Fuses activation and residual add into convolutions
    Relu6,
    /// Fuses inverted residual blocks, which run row by row
    Block,
    /// Fuses chains of blocks, for less scratch; quantized networks only
    Deep,
}

impl FusionArg {
    /// Levels of float networks that differ.
    pub const FLOAT: [Self; 3] = [Self::None, Self::Relu6, Self::Block];
    /// Levels of quantized networks that differ; their activation and add are part of requantization.
    pub const QUANTIZED: [Self; 2] = [Self::Relu6, Self::Block];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relu6 => "relu6",
            Self::Block => "block",
            Self::Deep => "deep",
        }
    }
}

impl From<FusionArg> for Fusion {
    fn from(arg: FusionArg) -> Self {
        match arg {
            FusionArg::None => Self::None,
            FusionArg::Relu6 => Self::Relu6,
            FusionArg::Block => Self::Block,
            FusionArg::Deep => Self::Deep,
        }
    }
}

impl From<Fusion> for FusionArg {
    fn from(fusion: Fusion) -> Self {
        match fusion {
            Fusion::None => Self::None,
            Fusion::Relu6 => Self::Relu6,
            Fusion::Block => Self::Block,
            Fusion::Deep => Self::Deep,
        }
    }
}

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum IsaArg {
    /// Plain Rust
    Portable,
    /// Arm Cortex-M with the DSP extension, for quantized networks; emulated elsewhere
    Dsp,
    /// 64-bit Arm
    Neon,
    /// 64-bit Arm with dot products, for quantized networks
    Neondot,
    /// x86-64 with AVX2 and FMA
    Avx2,
    /// x86-64 with AVX-512
    Avx512,
    /// x86-64 with AVX2 and AVX-VNNI, for quantized networks
    Avxvnni,
    /// x86-64 with AVX-512 and VNNI, for quantized networks
    Avx512vnni,
    /// x86-64 with AVX-512, BF16 and AMX-BF16, for bf16 networks
    Amxbf16,
    /// x86-64 with AVX-512 and BF16, for bf16 networks
    Avx512bf16,
    /// WebAssembly with SIMD
    Wasm128,
    /// WebAssembly with relaxed SIMD, for float networks
    Wasm128relaxed,
    /// WebAssembly with relaxed SIMD and dot products of bytes in pairs, for quantized networks
    Wasm128pairs,
    /// WebAssembly with relaxed SIMD and exact dot products of bytes, for quantized networks
    Wasm128dot,
}

impl From<IsaArg> for Isa {
    fn from(arg: IsaArg) -> Self {
        match arg {
            IsaArg::Portable => Self::Portable,
            IsaArg::Dsp => Self::Dsp,
            IsaArg::Neon => Self::Neon,
            IsaArg::Neondot => Self::NeonDot,
            IsaArg::Avx2 => Self::Avx2,
            IsaArg::Avx512 => Self::Avx512,
            IsaArg::Avxvnni => Self::AvxVnni,
            IsaArg::Avx512vnni => Self::Avx512Vnni,
            IsaArg::Amxbf16 => Self::AmxBf16,
            IsaArg::Avx512bf16 => Self::Avx512Bf16,
            IsaArg::Wasm128 => Self::Wasm128,
            IsaArg::Wasm128relaxed => Self::Wasm128Relaxed,
            IsaArg::Wasm128pairs => Self::Wasm128Pairs,
            IsaArg::Wasm128dot => Self::Wasm128Dot,
        }
    }
}

/// Kind of artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KindArg {
    /// A program that classifies pictures
    Program,
    /// A static library and a C header
    Static,
    /// A shared library and a C header
    Shared,
    /// An npm package for browsers and Node: the folder NAME
    Web,
    /// A Cargo project for a Cortex-M microcontroller: the folder NAME
    Embedded,
}

impl From<KindArg> for Kind {
    fn from(arg: KindArg) -> Self {
        match arg {
            KindArg::Program => Self::Program,
            KindArg::Static => Self::Static,
            KindArg::Shared => Self::Shared,
            KindArg::Web => Self::Web,
            KindArg::Embedded => Self::Embedded,
        }
    }
}

/// Summation of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NumericsArg {
    /// One fused multiply-add for each product: the same bits on every instruction set with FMA
    Strict,
    /// The fast inner product (Winograd 1968) if the instruction set has kernels for it (avx512) and the values of a
    /// layer allow it: faster on AMD Zen 4
    Fast,
}

impl NumericsArg {
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Fast => "fast",
        }
    }
}

impl From<NumericsArg> for Numerics {
    fn from(arg: NumericsArg) -> Self {
        match arg {
            NumericsArg::Strict => Self::Strict,
            NumericsArg::Fast => Self::Fast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions() {
        assert_eq!(parse_resolution("224"), Ok([224, 224]));
        assert_eq!(parse_resolution("192x224"), Ok([192, 224]));
        assert!(parse_resolution("192x").is_err_and(|text| text.contains("height x width")));
    }
}
