//! The kinds of numbers that a graph is executed in.

/// What sums of products are made of.
pub trait Number: Copy {
    const ZERO: Self;
    /// What no result may depend on.
    const POISON: Self;

    /// `self * weight + sum`.
    fn fma(self, weight: Self, sum: Self) -> Self;
}

/// Quantized numbers, and their sums.
impl Number for i32 {
    const ZERO: Self = 0;
    const POISON: Self = 0x5a5a_5a5a;

    // Sums that overflow wrap, as those of vector instructions do.
    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self.wrapping_mul(weight).wrapping_add(sum)
    }
}

pub trait Real: Number + PartialOrd {
    const SIX: Self;

    fn of(value: f32) -> Self;
    fn to_f32(self) -> f32;
    fn of_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn add(self, other: Self) -> Self;
    /// `sum / count`, as the pool computes it.
    fn mean(sum: Self, count: usize) -> Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const POISON: Self = Self::NAN;

    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self.mul_add(weight, sum)
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

    fn add(self, other: Self) -> Self {
        self + other
    }

    fn mean(sum: Self, count: usize) -> Self {
        sum * (1.0 / count as Self)
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const POISON: Self = Self::NAN;

    // One rounding more or less is nothing at this precision, and fused it would be a call without FMA hardware.
    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self * weight + sum
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

    fn add(self, other: Self) -> Self {
        self + other
    }

    fn mean(sum: Self, count: usize) -> Self {
        sum / count as Self
    }
}
