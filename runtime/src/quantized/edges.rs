//! Quantizations of a network's input and outputs.

use crate::number::Number;
use crate::quantized::arithmetic::{Integer, Quant};

/// Quantizations of the image, of the pooled vector, and of the logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edges {
    /// Quantization of the image.
    pub input: Quant,
    /// Quantization of the pooled vector.
    pub embedding: Quant,
    /// Quantization of the logits.
    pub logits: Quant,
}

/// Bytes of [`Edges`] at the start of a packed block.
pub(super) const BYTES: usize = 64;

impl Edges {
    pub(super) fn write(self, to: &mut [u8]) {
        let quants = [self.input, self.embedding, self.logits];
        for (to, quant) in to.chunks_exact_mut(8).zip(quants) {
            let (scale, zero) = to.split_at_mut(4);
            scale.copy_from_slice(&quant.scale().to_le_bytes());
            zero.copy_from_slice(&quant.zero_point().to_le_bytes());
        }
    }

    /// Reads the quantizations at the start of a packed block; `None` if they are not those of a network of this type.
    pub fn of(block: &[u8], integer: Integer) -> Option<Self> {
        let mut quants = block
            .as_chunks::<4>()
            .0
            .chunks_exact(2)
            .map(|pair| Quant::new(f32::from_le_bytes(pair[0]), i32::from_le_bytes(pair[1]), integer));
        let mut quant = || quants.next().flatten();
        Some(Self { input: quant()?, embedding: quant()?, logits: quant()? })
    }
}

/// `i8` or `u8`, the type of a network's inputs and outputs.
pub trait Integral: Number<Element = u8> {
    /// The type as a value.
    const INTEGER: Integer;

    /// Returns the byte that represents it inside the network.
    fn to_byte(self) -> u8;

    /// Returns the number, for arithmetic.
    fn widen(self) -> i32;
}

impl Integral for i8 {
    const INTEGER: Integer = Integer::Int8;

    #[inline(always)]
    fn to_byte(self) -> u8 {
        self.cast_unsigned() ^ 0x80
    }

    fn widen(self) -> i32 {
        self.into()
    }
}

impl Integral for u8 {
    const INTEGER: Integer = Integer::Uint8;

    #[inline(always)]
    fn to_byte(self) -> u8 {
        self
    }

    fn widen(self) -> i32 {
        self.into()
    }
}

/// Dequantizes values.
pub fn dequantize<T: Integral>(quant: Quant, numbers: &[T], to: &mut [f32]) {
    for (to, number) in to.iter_mut().zip(numbers) {
        *to = (number.widen() - quant.zero_point()) as f32 * quant.scale();
    }
}
