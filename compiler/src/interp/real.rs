//! The two kinds of numbers that a graph is executed in.

pub trait Real: Copy + PartialOrd {
    const ZERO: Self;
    const SIX: Self;
    /// What no result may depend on.
    const POISON: Self;

    fn of(value: f32) -> Self;
    fn to_f32(self) -> f32;
    fn of_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn add(self, other: Self) -> Self;
    /// `self * weight + sum`.
    fn fma(self, weight: Self, sum: Self) -> Self;
    /// `sum / count`, as the pool computes it.
    fn mean(sum: Self, count: usize) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const SIX: Self = 6.0;
    const POISON: Self = Self::NAN;

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

    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self.mul_add(weight, sum)
    }

    fn mean(sum: Self, count: usize) -> Self {
        sum * (1.0 / count as Self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const SIX: Self = 6.0;
    const POISON: Self = Self::NAN;

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

    // One rounding more or less is nothing at this precision, and fused it would be a call without FMA hardware.
    #[inline(always)]
    fn fma(self, weight: Self, sum: Self) -> Self {
        self * weight + sum
    }

    fn mean(sum: Self, count: usize) -> Self {
        sum / count as Self
    }
}
