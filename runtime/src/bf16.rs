//! The number type of the activations of bf16 networks: the upper half of a float32.
//!
//! Numbers are rounded to nearest, ties to even. Numbers below the normal range become zero, as in the instructions of
//! AVX512-BF16 and of Arm's BF16 extension.

/// A brain floating-point number: sign, eight bits of exponent, seven bits of fraction. `==` compares the bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Rounds to nearest, ties to even. Subnormal numbers become zero, and magnitudes above 3.39e38 infinity. NaN gives an
    /// unspecified number.
    #[inline(always)]
    pub const fn from_f32(value: f32) -> Self {
        const EXPONENT: u32 = 0x7f80_0000;
        const SIGN: u32 = 0x8000_0000;
        let bits = value.to_bits();
        let bits = if bits & EXPONENT == 0 { bits & SIGN } else { bits };
        Self((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }

    /// Returns the same number as a float32, subnormal numbers included.
    #[inline(always)]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// Returns the number with these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Returns the bits of the number.
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_to_nearest_even() {
        for (from, to) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 1.0 / 64.0),
            (1.0 + 1.01 / 256.0, 1.0 + 1.0 / 128.0),
            (-6.0, -6.0),
            (f32::MAX, f32::INFINITY),
            (1e-39, 0.0),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(Bf16::from_f32(from).to_f32(), to, "{from}");
        }
        assert!(Bf16::from_f32(-1e-39).to_f32().is_sign_negative());
    }

    #[test]
    fn every_number_is_its_own_rounding() {
        for bits in 0..=u16::MAX {
            let number = Bf16::from_bits(bits).to_f32();
            if number.is_normal() || number == 0.0 || number.is_infinite() {
                assert_eq!(Bf16::from_f32(number).to_bits(), bits);
            }
        }
    }
}
