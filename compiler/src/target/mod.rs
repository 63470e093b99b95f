//! Properties of an instruction set that the schedule, the passes and the loop nests depend on: lanes, registers,
//! products.
//!
//! This module has no mnemonics and no tokens. The intrinsics are in the runtime's `simd` modules, behind one
//! vocabulary.

pub use mbvc_runtime::quantized::DotForm;

pub use crate::spec::Isa;

/// How one activation is multiplied by a vector of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// Each use broadcasts the float from memory into every lane (x86, portable).
    Memory,
    /// Four consecutive floats are loaded as a vector, and multiplied by lane (NEON).
    Lane,
}

/// Properties of an instruction set for the schedule, the passes and the loop nests.
pub trait IsaFacts: Copy {
    /// Returns the floats per vector.
    fn lanes(self) -> usize;

    /// Returns the number of architectural vector registers, or, for WebAssembly, the number that an engine allocates
    /// without spilling.
    fn registers(self) -> usize;

    /// Like [`registers`](Self::registers), for loops over multiply-adds of matrix products.
    fn product_registers(self) -> usize;

    /// Like [`registers`](Self::registers), for loops over dot products.
    fn dot_registers(self) -> usize;

    /// Whether loops must do with fewer than sixteen vectors at a time.
    fn has_few_registers(self) -> bool {
        self.registers() < 16
    }

    /// Returns how kernels read the activations of a matrix product.
    fn broadcast(self) -> Broadcast;

    /// Returns the number of vector loads in the time of two multiply-adds.
    fn loads_per_cycle(self) -> usize;

    /// Whether computing the address of a load takes instructions. LLVM folds a constant offset into a WebAssembly load only if it
    /// can prove that the sum does not wrap.
    fn computes_addresses(self) -> bool {
        self.architecture() == Some("wasm32")
    }

    /// Whether cache lines can be prefetched.
    fn has_prefetch(self) -> bool;

    /// Whether there is a vocabulary for floats in vectors of half the width.
    fn has_half_vectors(self) -> bool;

    /// Whether there are kernels for the fast inner product. It needs two broadcasts per product, which are free only
    /// if an addition can broadcast its memory operand. It also needs one register per pixel in addition to the sums.
    fn has_fast_product(self) -> bool;

    /// Whether the instruction set has block products: bf16 matrix multiplication in tile registers of 16 rows of 64 bytes.
    fn has_block_products(self) -> bool;

    /// Whether quantized kernels have a fast requantization: sums with a bias that makes them the bit pattern of a float,
    /// and a form of the reference rounding for small factors, which is shorter on x86-64.
    fn has_biased_sums(self) -> bool;

    /// Whether there is a vocabulary for bytes in vectors of half the width.
    fn has_half_bytes(self) -> bool;

    /// Returns the form of the dot products of weights and activations.
    fn dot_form(self) -> DotForm;

    /// Returns the form of the dot products of a projection, which reads channel quads.
    fn quad_form(self) -> DotForm;

    /// Returns the form of the dot products of a fused block's expansion, which reads pixels.
    fn pixel_form(self) -> DotForm;

    /// Whether a vector of weights is multiplied by one of four quads of activations in the same register.
    fn dots_by_lane(self) -> bool;

    /// Whether kernels multiply pairs of activations that are stored as 16-bit numbers, a whole register tile at a time.
    /// They gather the windows of all products that read pixels, and a depthwise convolution stores such pairs.
    fn multiplies_pairs(self) -> bool;

    /// Returns the form of the weights of a depthwise convolution.
    fn depthwise_form(self) -> DotForm;

    /// Whether multiply-adds are fused, with a single rounding.
    fn has_fma(self) -> bool;

    /// Returns the `target_arch` of the targets that can have it, or `None` if all can.
    fn architecture(self) -> Option<&'static str>;
}

impl IsaFacts for Isa {
    fn lanes(self) -> usize {
        match self {
            Self::Dsp => 2,
            Self::Portable | Self::Neon | Self::NeonDot => 4,
            Self::Wasm128 | Self::Wasm128Relaxed | Self::Wasm128Pairs | Self::Wasm128Dot => 4,
            Self::Avx2 | Self::AvxVnni => 8,
            Self::Avx512 | Self::Avx512Vnni | Self::Avx512Bf16 | Self::AmxBf16 => 16,
        }
    }

    fn registers(self) -> usize {
        match self {
            // Thirteen registers that hold vectors of two.
            Self::Dsp => 6,
            // The processor has 16 or more, but V8 spills in loops with more live vectors than this.
            Self::Wasm128 | Self::Wasm128Relaxed | Self::Wasm128Pairs | Self::Wasm128Dot => 13,
            Self::Portable | Self::Avx2 | Self::AvxVnni => 16,
            Self::Neon | Self::NeonDot => 32,
            Self::Avx512 | Self::Avx512Vnni | Self::Avx512Bf16 | Self::AmxBf16 => 32,
        }
    }

    fn product_registers(self) -> usize {
        match self {
            // With `-pre-RA-sched=source`. With LLVM's default instruction order, V8 spills sums of tiles larger than 4x2.
            Self::Wasm128Relaxed => 16,
            _ => self.registers(),
        }
    }

    fn dot_registers(self) -> usize {
        match self {
            // Measured in V8. With exact dot products of bytes, tiles that need more than thirteen registers are slower.
            Self::Wasm128 | Self::Wasm128Pairs => 16,
            _ => self.registers(),
        }
    }

    fn broadcast(self) -> Broadcast {
        match self {
            Self::Neon | Self::NeonDot => Broadcast::Lane,
            Self::Portable
            | Self::Dsp
            | Self::Avx2
            | Self::Avx512
            | Self::AvxVnni
            | Self::Avx512Vnni
            | Self::Avx512Bf16
            | Self::AmxBf16
            | Self::Wasm128
            | Self::Wasm128Relaxed
            | Self::Wasm128Pairs
            | Self::Wasm128Dot => Broadcast::Memory,
        }
    }

    fn loads_per_cycle(self) -> usize {
        match self {
            Self::Avx512 | Self::Avx512Vnni | Self::Avx512Bf16 | Self::AmxBf16 => 1,
            Self::Portable
            | Self::Dsp
            | Self::Neon
            | Self::NeonDot
            | Self::Avx2
            | Self::AvxVnni
            | Self::Wasm128
            | Self::Wasm128Relaxed
            | Self::Wasm128Pairs
            | Self::Wasm128Dot => 2,
        }
    }

    fn has_prefetch(self) -> bool {
        self.architecture() == Some("x86_64")
    }

    fn has_half_vectors(self) -> bool {
        matches!(self, Self::Avx512 | Self::Avx512Bf16)
    }

    fn has_fast_product(self) -> bool {
        matches!(self, Self::Avx512)
    }

    fn has_block_products(self) -> bool {
        matches!(self, Self::AmxBf16)
    }

    fn has_biased_sums(self) -> bool {
        matches!(self.architecture(), Some("x86_64" | "wasm32"))
    }

    fn has_half_bytes(self) -> bool {
        matches!(self, Self::Avx512 | Self::Avx512Vnni)
    }

    fn dot_form(self) -> DotForm {
        match self {
            Self::Portable | Self::Dsp | Self::AvxVnni | Self::Avx512Vnni | Self::Wasm128Dot => DotForm::Bytes,
            // AVX512-BF16, AMX-BF16 and relaxed SIMD have no quantized kernels.
            Self::Avx2 | Self::Avx512 | Self::Avx512Bf16 | Self::AmxBf16 => DotForm::Words,
            Self::Wasm128 | Self::Wasm128Relaxed | Self::Wasm128Pairs => DotForm::Words,
            Self::Neon => DotForm::SignedPairs,
            Self::NeonDot => DotForm::SignedBytes,
        }
    }

    fn quad_form(self) -> DotForm {
        match self {
            Self::Avx2 | Self::Avx512 | Self::Wasm128Pairs => DotForm::PairedBytes,
            Self::Dsp => DotForm::Pairs,
            _ => self.dot_form(),
        }
    }

    fn pixel_form(self) -> DotForm {
        match self {
            Self::Avx2 | Self::Avx512 | Self::Wasm128 | Self::Wasm128Pairs => DotForm::CrossedWords,
            Self::Dsp => DotForm::Pairs,
            _ => self.dot_form(),
        }
    }

    fn dots_by_lane(self) -> bool {
        matches!(self, Self::Neon | Self::NeonDot)
    }

    fn multiplies_pairs(self) -> bool {
        matches!(self, Self::Dsp)
    }

    fn depthwise_form(self) -> DotForm {
        if self.multiplies_pairs() { DotForm::Windows } else { self.dot_form() }
    }

    fn has_fma(self) -> bool {
        !matches!(self, Self::Portable | Self::Dsp | Self::Wasm128)
    }

    fn architecture(self) -> Option<&'static str> {
        match self {
            Self::Portable | Self::Dsp => None,
            Self::Neon | Self::NeonDot => Some("aarch64"),
            Self::Avx2 | Self::Avx512 | Self::AvxVnni | Self::Avx512Vnni => Some("x86_64"),
            Self::Avx512Bf16 | Self::AmxBf16 => Some("x86_64"),
            Self::Wasm128 | Self::Wasm128Relaxed | Self::Wasm128Pairs | Self::Wasm128Dot => Some("wasm32"),
        }
    }
}
