//! The number types of networks: those of inputs and outputs, and the elements that kernels process.

use crate::scratch::line::bytes_of_floats;

/// A type of a network's image, embedding and logits.
pub trait Number: Copy + Default + Send + Sync + 'static {
    /// Type that kernels load and store. Quantized networks of both types process bytes from 0 to 255.
    type Element: Copy + Send + Sync + 'static;

    /// An element whose bits are all zero.
    const ZERO: Self::Element;

    /// The number that an element represents.
    fn from_element(element: Self::Element) -> Self;

    /// Returns a scratch as the elements that kernels process.
    fn elements(scratch: &mut [f32]) -> &mut [Self::Element];
}

impl Number for f32 {
    type Element = Self;

    const ZERO: Self = 0.0;

    #[inline(always)]
    fn from_element(element: Self) -> Self {
        element
    }

    #[inline(always)]
    fn elements(scratch: &mut [f32]) -> &mut [Self] {
        scratch
    }
}

impl Number for i8 {
    type Element = u8;

    const ZERO: u8 = 0;

    #[inline(always)]
    fn from_element(element: u8) -> Self {
        (element ^ 0x80).cast_signed()
    }

    #[inline(always)]
    fn elements(scratch: &mut [f32]) -> &mut [u8] {
        bytes_of_floats(scratch)
    }
}

impl Number for u8 {
    type Element = Self;

    const ZERO: Self = 0;

    #[inline(always)]
    fn from_element(element: Self) -> Self {
        element
    }

    #[inline(always)]
    fn elements(scratch: &mut [f32]) -> &mut [Self] {
        bytes_of_floats(scratch)
    }
}

/// Converts elements to the numbers that they represent.
#[inline]
pub fn numbers<T: Number, const N: usize>(elements: [T::Element; N]) -> [T; N] {
    elements.map(T::from_element)
}
