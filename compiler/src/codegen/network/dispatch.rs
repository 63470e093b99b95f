//! The dispatch to an instruction set, when a model is built and at each call.

use proc_macro2::TokenStream;
use quote::quote;

use super::numbers::Numbers;
use crate::codegen::Program;
use crate::codegen::isa::IsaTokens;
use crate::codegen::tokens::lit;

/// Comment on the entry point of an instruction set's kernels.
const SAFETY: &str = "SAFETY: `rt::Detected` proves that this processor has the features of the instruction set. The \
    buffers have the\nlengths that the compiler planned: models are built only with a block that was packed by `PLAN`, and \
    the lengths of\nscratch, image and output are fixed. The compiler's `plan_scratch` places every value in the scratch, \
    and its verifier\nproves that all places are in bounds, that values which are alive at the same time are disjoint, and \
    that between two\nbarriers no thread accesses what another one writes. A kernel that uses tile registers configures them first, and calls\nnothing that changes their shapes.";

/// Returns the functions that dispatch to an instruction set. `dispatch` takes the scratch. `enter` runs one thread's
/// part.
pub fn methods(threads: usize, programs: &[Program], numbers: &Numbers) -> TokenStream {
    let Numbers { element, image, .. } = numbers;
    let many = threads > 1;
    let team = many.then(|| quote!(team,));
    let (team_type, team_parameter) = (many.then(|| quote!(T: rt::Team,)), many.then(|| quote!(team: T,)));
    let enter = enter(threads);
    let calls = programs.iter().map(|program| {
        let (target, variant, module) = (program.isa.target(), program.isa.variant(), program.isa.module());
        quote! {
            #[cfg(#target)]
            rt::Isa::#variant => {
                rt::note!(#SAFETY);
                unsafe {
                    let (w, scratch, output) = buffers.views();
                    #module::run(#team w, scratch, image, output, observer)
                }
            }
        }
    });
    quote! {
        #[inline]
        fn dispatch<I: #image, O: rt::Observer>(
            &self, scratch: &mut [#element], image: &I, output: rt::Output<&mut [#element]>, observer: &mut O,
        ) {
            let (isa, buffers) = (self.0.isa(), rt::Buffers::new(self.0.block(), scratch, output));
            #enter
        }

        #[inline]
        fn enter<#team_type I: #image, O: rt::Observer>(
            isa: rt::Detected, #team_parameter buffers: rt::Buffers<'_, #element>, image: &I, observer: &mut O,
        ) {
            match isa.isa() {
                #(#calls)*
                #[allow(unreachable_patterns)]
                other => ::core::unreachable!("{other} was not compiled in"),
            }
        }
    }
}

/// Returns the function that finds the plan of an instruction set.
pub fn plan(programs: &[Program], numbers: &Numbers) -> TokenStream {
    let plan_type = &numbers.plan;
    let plans = programs.iter().map(|program| {
        let (target, variant, module) = (program.isa.target(), program.isa.variant(), program.isa.module());
        quote!(#[cfg(#target)] rt::Isa::#variant => ::core::option::Option::Some(&#module::PLAN),)
    });
    quote! {
        fn plan(isa: rt::Isa) -> ::core::option::Option<&'static #plan_type> {
            match isa {
                #(#plans)*
                #[allow(unreachable_patterns)]
                _ => ::core::option::Option::None,
            }
        }
    }
}

/// Returns the call of the kernels, by a team if the network was compiled for one. Only the calling thread has an
/// observer.
fn enter(threads: usize) -> TokenStream {
    if threads == 1 {
        return quote!(Self::enter(isa, buffers, image, observer));
    }
    let threads = lit(threads);
    quote! {
        rt::together(
            #threads,
            |member| Self::enter(isa, member, buffers, image, &mut rt::Unobserved),
            |member| Self::enter(isa, member, buffers, image, observer),
        );
    }
}

/// Returns the function that wraps a model in the network's type. It starts the worker threads, so that the first call
/// finds them running.
pub fn ready(threads: usize) -> TokenStream {
    let helpers = lit(threads - 1);
    if threads > 1 { quote!(|model| { rt::start_workers(#helpers); Self(model) }) } else { quote!(Self) }
}
