//! Number types of the execution.

use mbvc_runtime::Bf16;

/// A number with a multiply-add.
pub trait Number: Copy {
    const ZERO: Self;
    /// Marks memory that no result depends on.
    const POISON: Self;

    /// `self * weight + sum`.
    fn fma(self, weight: Self, sum: Self) -> Self;

    fn add(self, other: Self) -> Self;
}

/// Quantized numbers and their sums.
impl Number for i32 {
    const ZERO: Self = 0;
    const POISON: Self = 0x5a5a_5a5a;

    // Sums wrap on overflow, as in vector instructions.
    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self.wrapping_mul(weight).wrapping_add(sum)
    }

    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

pub trait Real: Number + PartialOrd {
    const SIX: Self;

    fn of(value: f32) -> Self;
    fn to_f32(self) -> f32;
    fn of_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// `sum / count` in the arithmetic of the pool.
    fn mean(sum: Self, count: usize) -> Self;
    /// Rounds to bf16, if this is the arithmetic of generated code.
    fn to_bf16(self) -> Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const POISON: Self = Self::NAN;

    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self.mul_add(weight, sum)
    }

    fn add(self, other: Self) -> Self {
        self + other
    }
}

impl Real for f32 {
    const SIX: Self = 6.0;

    fn of(value: f32) -> Self {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }

    fn of_f64(value: f64) -> Self {
        value as Self
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn mean(sum: Self, count: usize) -> Self {
        sum * (1.0 / count as Self)
    }

    fn to_bf16(self) -> Self {
        Bf16::from_f32(self).to_f32()
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const POISON: Self = Self::NAN;

    // Not fused: one more rounding is negligible in f64, and without FMA hardware `mul_add` is a function call.
    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self * weight + sum
    }

    fn add(self, other: Self) -> Self {
        self + other
    }
}

impl Real for f64 {
    const SIX: Self = 6.0;

    fn of(value: f32) -> Self {
        Self::from(value)
    }

    fn to_f32(self) -> f32 {
        self as f32
    }

    fn of_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn mean(sum: Self, count: usize) -> Self {
        sum / count as Self
    }

    fn to_bf16(self) -> Self {
        self
    }
}
