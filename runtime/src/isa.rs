//! Instruction sets, their detection, and the choice among those that a network was compiled for.

use core::fmt;

use crate::conventions::Precision;

/// An instruction set that kernels are generated for, in order of preference: the last supported one is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, for every target.
    Portable,
    /// Armv7E-M, and Armv8-M with the DSP extension. For quantized networks. Emulated on other targets, where it is only
    /// chosen on request.
    Dsp,
    /// AArch64 with NEON.
    Neon,
    /// AArch64 with NEON and the dot-product extension. For quantized networks.
    NeonDot,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// x86-64 with AVX2, FMA and AVX-VNNI. For quantized networks.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI. For quantized networks.
    Avx512Vnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and BF16. For bf16 networks.
    Avx512Bf16,
    /// x86-64 with AVX-512 F, BW, DQ, VL and BF16, plus AMX-TILE and AMX-BF16. For bf16 networks. Only on
    /// Linux with `std`; [`detect`](Self::detect) requests the permission to use AMX for the whole process.
    AmxBf16,
    /// WebAssembly with SIMD128.
    Wasm128,
    /// WebAssembly with SIMD128 and relaxed SIMD. For float networks.
    Wasm128Relaxed,
    /// WebAssembly with SIMD128 and relaxed SIMD, in an engine whose dot product of bytes is exact for pairs that fit in 16
    /// bits. For quantized networks.
    Wasm128Pairs,
    /// WebAssembly with SIMD128 and relaxed SIMD, in an engine whose dot product of bytes is exact. For quantized
    /// networks.
    Wasm128Dot,
}

impl Isa {
    /// All instruction sets, in the order of the enum.
    pub const ALL: [Self; 14] = [
        Self::Portable,
        Self::Dsp,
        Self::Neon,
        Self::NeonDot,
        Self::Avx2,
        Self::Avx512,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::Avx512Bf16,
        Self::AmxBf16,
        Self::Wasm128,
        Self::Wasm128Relaxed,
        Self::Wasm128Pairs,
        Self::Wasm128Dot,
    ];

    /// Instruction sets with kernels for float networks.
    pub const FLOAT: [Self; 6] =
        [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512, Self::Wasm128, Self::Wasm128Relaxed];

    /// Instruction sets with kernels for bf16 networks.
    pub const BF16: [Self; 8] = [
        Self::Portable,
        Self::Neon,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Bf16,
        Self::AmxBf16,
        Self::Wasm128,
        Self::Wasm128Relaxed,
    ];

    /// Instruction sets with kernels for quantized networks.
    pub const QUANTIZED: [Self; 11] = [
        Self::Portable,
        Self::Dsp,
        Self::Neon,
        Self::NeonDot,
        Self::Avx2,
        Self::Avx512,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::Wasm128,
        Self::Wasm128Pairs,
        Self::Wasm128Dot,
    ];

    /// The instruction sets with kernels of `precision`.
    pub const fn of(precision: Precision) -> &'static [Self] {
        match precision {
            Precision::F32 => &Self::FLOAT,
            Precision::Bf16 => &Self::BF16,
            Precision::Int8 | Precision::Uint8 => &Self::QUANTIZED,
        }
    }

    /// Whether the kernels are slower here than those of other instruction sets, because this target lacks the
    /// instructions and they are emulated.
    pub const fn is_emulated(self) -> bool {
        matches!(self, Self::Dsp) && !cfg!(mbvc_dsp)
    }

    /// The name in specs, in arguments of the command and in `MBVC_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Dsp => "dsp",
            Self::Neon => "neon",
            Self::NeonDot => "neondot",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::AvxVnni => "avxvnni",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Bf16 => "avx512bf16",
            Self::AmxBf16 => "amxbf16",
            Self::Wasm128 => "wasm128",
            Self::Wasm128Relaxed => "wasm128relaxed",
            Self::Wasm128Pairs => "wasm128pairs",
            Self::Wasm128Dot => "wasm128dot",
        }
    }

    /// The instruction set with this [`name`](Self::name), if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Returns a proof that this processor has the instruction set, or `None` if it does not.
    ///
    /// Without `std`, and in WebAssembly, only the features that the program was compiled for are known: an engine
    /// without them rejects the whole module. Whether its dot products of bytes are exact is tested
    /// at run time. AMX requires Linux and `std`; detecting it requests
    /// permission for the whole process.
    pub fn detect(self) -> Option<Detected> {
        present(self).then_some(Detected(self))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An instruction set that this processor has. Only [`Isa::detect`] returns one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected(Isa);

impl Detected {
    /// The instruction set.
    pub const fn isa(self) -> Isa {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
fn present(isa: Isa) -> bool {
    macro_rules! has {
        ($($feature:tt),*) => {{
            #[cfg(feature = "std")]
            { true $(&& std::is_x86_feature_detected!($feature))* }
            #[cfg(not(feature = "std"))]
            { true $(&& cfg!(target_feature = $feature))* }
        }};
    }
    match isa {
        Isa::Portable | Isa::Dsp => true,
        Isa::Neon | Isa::NeonDot => false,
        Isa::Wasm128 | Isa::Wasm128Relaxed | Isa::Wasm128Pairs | Isa::Wasm128Dot => false,
        Isa::Avx2 => has!("avx2", "fma"),
        Isa::Avx512 => has!("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
        Isa::AvxVnni => has!("avx2", "fma", "avxvnni"),
        Isa::Avx512Vnni => has!("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"),
        Isa::Avx512Bf16 => has!("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512bf16"),
        Isa::AmxBf16 => present(Isa::Avx512Bf16) && crate::simd::amx::is_available(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn present(isa: Isa) -> bool {
    match isa {
        Isa::Portable | Isa::Dsp => true,
        // Part of every AArch64 target with hardware floats.
        Isa::Neon => cfg!(all(target_arch = "aarch64", target_feature = "neon")),
        Isa::NeonDot => present(Isa::Neon) && has_dot_products(),
        Isa::Wasm128 => cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
        Isa::Wasm128Relaxed => cfg!(all(target_arch = "wasm32", target_feature = "relaxed-simd")),
        Isa::Wasm128Pairs | Isa::Wasm128Dot => multiplies_bytes_exactly(isa),
        Isa::Avx2 | Isa::Avx512 | Isa::AvxVnni | Isa::Avx512Vnni | Isa::Avx512Bf16 | Isa::AmxBf16 => false,
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
fn multiplies_bytes_exactly(isa: Isa) -> bool {
    use crate::simd::quantized::{wasm128dot, wasm128pairs};

    if isa == Isa::Wasm128Dot { wasm128dot::is_exact() } else { wasm128pairs::is_exact() }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "relaxed-simd"))))]
fn multiplies_bytes_exactly(_: Isa) -> bool {
    false
}

#[cfg(all(target_arch = "aarch64", feature = "std"))]
fn has_dot_products() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", feature = "std"))))]
fn has_dot_products() -> bool {
    cfg!(target_feature = "dotprod")
}

/// Chooses among the instruction sets that a network was compiled for: `requested` if it is given, else the one in
/// `MBVC_ISA` (with `std`), else the last one in the order of [`Isa`] that this processor has.
///
/// # Errors
/// If the instruction set is unknown, was not compiled in, or is not supported by this processor.
pub fn choose(compiled: &'static [Isa], requested: Option<Isa>) -> Result<Detected, IsaError> {
    let choice = match requested {
        Some(isa) => Some(isa),
        None => from_environment()?,
    };
    match choice {
        Some(isa) if !compiled.contains(&isa) => Err(IsaError::NotCompiled { isa, compiled }),
        Some(isa) if requested.is_some() => isa.detect().ok_or(IsaError::Absent(isa)),
        Some(isa) => isa.detect().ok_or(IsaError::VariableAbsent(isa)),
        None => compiled
            .iter()
            .filter_map(|isa| isa.detect())
            .max_by_key(|found| (!found.isa().is_emulated(), found.isa()))
            .ok_or(IsaError::NoneCompiled { compiled }),
    }
}

#[cfg(feature = "std")]
fn from_environment() -> Result<Option<Isa>, IsaError> {
    match std::env::var("MBVC_ISA") {
        Ok(name) if name.is_empty() => Ok(None),
        Ok(name) => Isa::from_name(&name).map(Some).ok_or(IsaError::Unknown),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(IsaError::Unknown),
    }
}

#[cfg(not(feature = "std"))]
fn from_environment() -> Result<Option<Isa>, IsaError> {
    Ok(None)
}

/// Why no instruction set could be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsaError {
    /// `MBVC_ISA` has an unknown value.
    Unknown,
    /// The network was not compiled for the requested instruction set.
    NotCompiled {
        /// Instruction set that the caller or `MBVC_ISA` requested.
        isa: Isa,
        /// The instruction sets that the network was compiled for.
        compiled: &'static [Isa],
    },
    /// The instruction set has no kernels for networks of this precision.
    NoKernels(Isa, Precision),
    /// This processor does not support the instruction set that the caller requested, or that of a packed file.
    Absent(Isa),
    /// This processor does not support the instruction set in `MBVC_ISA`.
    VariableAbsent(Isa),
    /// This processor supports none of the instruction sets that the network was compiled for.
    NoneCompiled {
        /// The instruction sets that the network was compiled for.
        compiled: &'static [Isa],
    },
}

#[cfg(feature = "alloc")]
impl IsaError {
    /// The error for a network of this precision: some instruction sets cannot be added to it.
    pub(crate) fn of(self, precision: Precision) -> Self {
        match self {
            Self::NotCompiled { isa, .. } if !Isa::of(precision).contains(&isa) => Self::NoKernels(isa, precision),
            other => other,
        }
    }
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("MBVC_ISA is not an instruction set; expected one of ")?;
                list(f, &Isa::ALL)
            }
            Self::NotCompiled { isa, compiled } => {
                write!(f, "the network was not compiled for {isa}, only for ")?;
                list(f, compiled)?;
                write!(f, "; add it to `isa` in the spec or the macro")
            }
            Self::NoKernels(isa, precision) => {
                write!(f, "no {precision} kernels for {isa}; expected one of ")?;
                list(f, Isa::of(*precision))
            }
            Self::Absent(isa) => {
                write!(
                    f,
                    "this processor does not support {isa}; omit the instruction set to use the best supported one"
                )
            }
            Self::VariableAbsent(isa) => {
                write!(
                    f,
                    "this processor does not support {isa}; unset MBVC_ISA to use the best supported instruction set"
                )
            }
            Self::NoneCompiled { compiled } => {
                f.write_str(
                    "this processor supports none of the instruction sets that the network was compiled for: ",
                )?;
                list(f, compiled)?;
                f.write_str("; add `portable` to `isa` in the spec or the macro")
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, isas: &[Isa]) -> fmt::Result {
    for (at, isa) in isas.iter().enumerate() {
        write!(f, "{}{isa}", if at > 0 { ", " } else { "" })?;
    }
    Ok(())
}

impl core::error::Error for IsaError {}

#[cfg(feature = "std")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_available_instruction_set_is_chosen() {
        let best = |compiled| choose(compiled, None).map(Detected::isa);
        if std::env::var_os("MBVC_ISA").is_some() {
            std::println!("skipped: MBVC_ISA chooses");
            return;
        }
        assert_eq!(
            best(&Isa::QUANTIZED),
            Ok(Isa::QUANTIZED.into_iter().filter(|isa| isa.detect().is_some() && !isa.is_emulated()).max().unwrap())
        );
        assert_eq!(best(&[Isa::Dsp]), Ok(Isa::Dsp));
        assert_eq!(best(&[Isa::Portable, Isa::Dsp]), Ok(if cfg!(mbvc_dsp) { Isa::Dsp } else { Isa::Portable }));
        assert_eq!(best(&[Isa::Portable]), Ok(Isa::Portable));
        // Set where the machine is known.
        if let Ok(name) = std::env::var("MBVC_TEST_BEST_ISA") {
            assert_eq!(best(&Isa::QUANTIZED), Ok(Isa::from_name(&name).unwrap()));
        }
    }

    #[test]
    fn errors_depend_on_who_chose() {
        let refusal =
            |isa| choose(&Isa::FLOAT, Some(isa)).map_err(|error| std::format!("{}", error.of(Precision::F32)));
        for isa in [Isa::NeonDot, Isa::AvxVnni, Isa::Avx512Vnni] {
            let refused = refusal(isa).unwrap_err();
            assert!(refused.starts_with(&std::format!("no f32 kernels for {isa}; ")), "{refused}");
        }
        for isa in Isa::FLOAT.into_iter().filter(|isa| isa.detect().is_none()) {
            let refused = refusal(isa).unwrap_err();
            assert!(refused.starts_with(&std::format!("this processor does not support {isa}; ")), "{refused}");
        }
        let other = choose(&[Isa::Portable], Some(Isa::Neon));
        assert_eq!(other.map_err(|error| error.of(Precision::F32)), other, "can be added");
    }

    #[test]
    fn names_are_unique() {
        for isa in Isa::ALL {
            assert_eq!(Isa::from_name(isa.name()), Some(isa));
        }
    }
}
