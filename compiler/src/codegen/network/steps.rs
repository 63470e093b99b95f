//! Calls in steps, for networks of one thread.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::numbers::Numbers;
use crate::codegen::Program;
use crate::codegen::tokens::lit;

/// Returns the method that begins a call, and the implementation of its steps.
pub fn items(
    name: &Ident,
    programs: &[Program],
    numbers: &Numbers,
    [lines, input, classes]: [&Literal; 3],
) -> TokenStream {
    let Numbers { number, element, .. } = numbers;
    let [program, ..] = programs else { return quote!() };
    if program.threads > 1 {
        return quote!();
    }
    let count = lit(program.steps.len());
    quote! {
        impl #name {
            /// Like `run_pixels`, but step by step, so that other work can run in between.
            pub fn steps<'a>(
                &'a self, scratch: &'a mut rt::Scratch<#lines>, pixels: &'a [u8; #input],
            ) -> rt::Steps<'a, Self> {
                rt::Steps::new(self, scratch, pixels)
            }
        }

        impl rt::Stepped for #name {
            type Scratch = rt::Scratch<#lines>;
            type Pixels = [u8; #input];
            type Logits = [#number; #classes];
            type Elements = [#element; #classes];
            const COUNT: usize = #count;
            const ZERO: Self::Elements = [<#number as rt::Number>::ZERO; #classes];

            fn step(
                &self, step: usize, scratch: &mut Self::Scratch, pixels: &Self::Pixels, elements: &mut Self::Elements,
            ) {
                let (scratch, output) = (scratch.elements_mut::<#number>(), rt::Output::Step(step, &mut elements[..]));
                self.dispatch(scratch, &self.0.pixels(pixels), output, &mut rt::Unobserved);
            }

            fn logits(elements: Self::Elements) -> Self::Logits { rt::numbers(elements) }
        }
    }
}
