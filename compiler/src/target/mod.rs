//! Facts of an instruction set that the schedule, the passes and the loop nests depend on: lanes, registers, products.
//!
//! No mnemonics and no tokens: the intrinsics are spelled in the runtime's `simd` modules, one vocabulary for all.

use mbvc_runtime::quantized::DotForm;

pub use crate::spec::Isa;

/// How one float of the activations meets a vector of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// Each use loads the float into every lane (x86, portable).
    Memory,
    /// Four consecutive floats are loaded as a vector, and multiplied lane by lane (NEON).
    Lane,
}

/// What the schedule, the passes and the loop nests have to know of an instruction set.
pub trait IsaFacts: Copy {
    /// Floats in a vector.
    fn lanes(self) -> usize;

    /// Architectural vector registers.
    fn registers(self) -> usize;

    /// How its kernels take the activations of a matrix product.
    fn broadcast(self) -> Broadcast;

    /// Vectors that can be loaded in the time of two multiply-adds.
    fn loads_per_cycle(self) -> usize;

    /// Whether a cache line can be asked for ahead of its use.
    fn has_prefetch(self) -> bool;

    /// An instruction set of half the width, whose vocabulary serves the functions of this one too.
    fn half(self) -> Option<Self>;

    /// Whether there are kernels for the fast inner product. It takes two broadcasts for each product, which are free
    /// only where an addition reads its operand from memory into every lane, and as many registers as pixels beside
    /// the sums.
    fn has_fast_product(self) -> bool;

    /// Whether quantized kernels can let sums carry the bias that one multiply-add takes off again, and in the reference
    /// kernels' rounding have a short form for small factors.
    fn has_biased_sums(self) -> bool;

    /// Whether there is a vocabulary for bytes in vectors of half the width.
    fn has_half_bytes(self) -> bool;

    /// The form in which weights meet activations.
    fn dot_form(self) -> DotForm;

    /// Whether vectors of weights are multiplied by one of four quads of activations, all in one register.
    fn dots_by_lane(self) -> bool;

    /// Whether weights meet activations as bytes, four at a time; else as 16-bit numbers.
    fn multiplies_bytes(self) -> bool;

    /// Bytes of the quads of weights of a vector of so many lanes.
    fn dot_weights(self, lanes: usize) -> usize;

    /// Whether multiplication and addition are rounded once, together.
    fn has_fma(self) -> bool;

    /// The `target_arch` of the targets that can have it; `None` if all can.
    fn architecture(self) -> Option<&'static str>;
}

impl IsaFacts for Isa {
    fn lanes(self) -> usize {
        match self {
            Self::Portable | Self::Neon | Self::NeonDot => 4,
            Self::Avx2 | Self::AvxVnni => 8,
            Self::Avx512 | Self::Avx512Vnni => 16,
        }
    }

    fn registers(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 | Self::AvxVnni => 16,
            Self::Neon | Self::NeonDot | Self::Avx512 | Self::Avx512Vnni => 32,
        }
    }

    fn broadcast(self) -> Broadcast {
        match self {
            Self::Neon | Self::NeonDot => Broadcast::Lane,
            Self::Portable | Self::Avx2 | Self::Avx512 | Self::AvxVnni | Self::Avx512Vnni => Broadcast::Memory,
        }
    }

    fn loads_per_cycle(self) -> usize {
        match self {
            Self::Avx512 | Self::Avx512Vnni => 1,
            Self::Portable | Self::Neon | Self::NeonDot | Self::Avx2 | Self::AvxVnni => 2,
        }
    }

    fn has_prefetch(self) -> bool {
        !matches!(self, Self::Portable | Self::Neon | Self::NeonDot)
    }

    fn half(self) -> Option<Self> {
        match self {
            Self::Avx512 => Some(Self::Avx2),
            Self::Portable | Self::Neon | Self::NeonDot | Self::Avx2 | Self::AvxVnni | Self::Avx512Vnni => None,
        }
    }

    fn has_fast_product(self) -> bool {
        matches!(self, Self::Avx512)
    }

    fn has_biased_sums(self) -> bool {
        !matches!(self, Self::Portable | Self::Neon | Self::NeonDot)
    }

    fn has_half_bytes(self) -> bool {
        matches!(self, Self::Avx512 | Self::Avx512Vnni)
    }

    fn dot_form(self) -> DotForm {
        match self {
            Self::Portable | Self::AvxVnni | Self::Avx512Vnni => DotForm::Bytes,
            Self::Avx2 | Self::Avx512 => DotForm::Words,
            Self::Neon => DotForm::SignedPairs,
            Self::NeonDot => DotForm::SignedBytes,
        }
    }

    fn dots_by_lane(self) -> bool {
        matches!(self, Self::Neon | Self::NeonDot)
    }

    fn multiplies_bytes(self) -> bool {
        !matches!(self.dot_form(), DotForm::Words)
    }

    fn dot_weights(self, lanes: usize) -> usize {
        if self.multiplies_bytes() { lanes * 4 } else { lanes * 8 }
    }

    fn has_fma(self) -> bool {
        !matches!(self, Self::Portable)
    }

    fn architecture(self) -> Option<&'static str> {
        match self {
            Self::Portable => None,
            Self::Neon | Self::NeonDot => Some("aarch64"),
            Self::Avx2 | Self::Avx512 | Self::AvxVnni | Self::Avx512Vnni => Some("x86_64"),
        }
    }
}
