//! The choice among the instruction sets, when a model is built and at each call.

use proc_macro2::TokenStream;
use quote::quote;

use super::numbers::Numbers;
use crate::codegen::Program;
use crate::codegen::isa::IsaTokens;
use crate::codegen::tokens::lit;

/// The functions that choose among the instruction sets: `dispatch` takes the scratch, `enter` is one member's part.
pub fn methods(threads: usize, programs: &[Program], numbers: &Numbers) -> TokenStream {
    let Numbers { element, image, .. } = numbers;
    let many = threads > 1;
    let team = many.then(|| quote!(team,));
    let (team_type, team_parameter) = (many.then(|| quote!(T: rt::Team,)), many.then(|| quote!(team: T,)));
    let enter = enter(threads);
    let calls = programs.iter().map(|program| {
        let (target, variant, module) = (program.isa.target(), program.isa.variant(), program.isa.module());
        if program.isa.target_feature().is_empty() {
            return quote!(#[cfg(#target)] rt::Isa::#variant => #module::run(#team w, scratch, image, output, observer),);
        }
        quote! {
            #[cfg(#target)]
            // SAFETY: a `Detected` exists only for instruction sets that this processor was seen to have.
            rt::Isa::#variant => unsafe { #module::run(#team w, scratch, image, output, observer) },
        }
    });
    quote! {
        #[inline]
        fn dispatch<I: #image, O: rt::Observer>(
            &self, scratch: &mut [#element], image: &I, output: rt::Output<'_, #element>, observer: &mut O,
        ) {
            let (w, scratch) = (self.0.block(), rt::Area::new(scratch));
            let isa = self.0.isa();
            #enter
        }

        #[inline]
        fn enter<#team_type I: #image, O: rt::Observer>(
            isa: rt::Detected, #team_parameter w: rt::Src<'_, #element>, scratch: rt::Area<'_, #element>,
            image: &I, output: rt::Output<'_, #element>, observer: &mut O,
        ) {
            match isa.isa() {
                #(#calls)*
                #[allow(unreachable_patterns)]
                other => ::core::unreachable!("{other} was not compiled in"),
            }
        }
    }
}

/// The function that finds the plan of an instruction set.
pub fn plan(programs: &[Program], numbers: &Numbers) -> TokenStream {
    let plan_type = &numbers.plan;
    let plans = programs.iter().map(|program| {
        let (target, variant, module) = (program.isa.target(), program.isa.variant(), program.isa.module());
        quote!(#[cfg(#target)] rt::Isa::#variant => ::core::option::Option::Some(#module::PLAN),)
    });
    quote! {
        fn plan(isa: rt::Isa) -> ::core::option::Option<#plan_type> {
            match isa {
                #(#plans)*
                #[allow(unreachable_patterns)]
                _ => ::core::option::Option::None,
            }
        }
    }
}

/// The call of the kernels: by a team, where the network was made for one. Only the caller has an observer.
fn enter(threads: usize) -> TokenStream {
    if threads == 1 {
        return quote!(Self::enter(isa, w, scratch, image, output, observer));
    }
    let threads = lit(threads);
    quote! {
        rt::together(
            #threads,
            |member| Self::enter(isa, member, w, scratch, image, output, &mut rt::Unobserved),
            |member| Self::enter(isa, member, w, scratch, image, output, observer),
        );
    }
}

/// Makes a network of a model, and sees that it finds its helpers awake.
pub fn ready(threads: usize) -> TokenStream {
    let helpers = lit(threads - 1);
    if threads > 1 { quote!(|model| { rt::start_workers(#helpers); Self(model) }) } else { quote!(Self) }
}
