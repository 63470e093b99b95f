//! Methods of quantized networks only.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// Returns the methods for the quantization of input and outputs, and for the real values of logits.
pub fn methods(number: &TokenStream, classes: &Literal) -> TokenStream {
    quote! {
        /// Returns the scales and zero points of image, embedding and logits.
        pub fn edges(&self) -> &rt::quantized::Edges { self.0.edges() }

        /// Dequantizes logits.
        pub fn dequantize(&self, logits: &[#number; #classes]) -> [f32; #classes] {
            let mut values = [0.0; #classes];
            self.0.dequantize(logits, &mut values);
            values
        }
    }
}
