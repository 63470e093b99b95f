//! The module of kernels and steps for one instruction set.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::numbers::Numbers;
use crate::codegen::Program;
use crate::codegen::isa::IsaTokens;
use crate::codegen::step::StepFn;
use crate::codegen::tokens::lit;
use crate::target::IsaFacts;

/// Returns the kernels and steps for one instruction set. Their entry point is `run`.
pub fn items(program: &Program, numbers: &Numbers) -> TokenStream {
    let Numbers { element, image, plan: plan_type, vectors, .. } = numbers;
    let (module, target, feature) = (program.isa.module(), program.isa.target(), program.isa.target_feature());
    let doc = format!(" Kernels and steps for {}.", program.isa.name());
    let kernels = program.kernels.values();
    let steps = program.steps.iter().map(|step| &step.item);
    let zeros = lit(program.zeros.max(1));
    let many = program.threads > 1;
    let (team_type, team) = (many.then(|| quote!(T: rt::Team,)), many.then(|| quote!(team: T,)));
    let once = many.then(|| quote!(if team.index() == 0));
    let plan = program.packs.tokens();
    let call = |step: &StepFn| {
        let function = format_ident!("{}", step.name);
        let image = step.reads_image.then(|| quote!(image,));
        let logits = step.writes_logits.then(|| quote!(logits,));
        let team = many.then(|| quote!(team,));
        quote!(#function(#team w, scratch, #image #logits observer);)
    };
    let release = program.isa.has_block_products().then(|| quote!(let _release = ReleaseTiles;));
    // A call of one step, for networks of one thread.
    let one = (!many).then(|| {
        let (index, calls) = ((0..program.steps.len()).map(lit), program.steps.iter().map(call));
        quote! {
            if let rt::Output::Step(index, logits) = output {
                match index { #(#index => { #calls })* _ => {} }
                return;
            }
        }
    });
    let (last, body): (Vec<_>, Vec<_>) = program.steps.iter().partition(|step| step.writes_logits);
    let (body, last) = (body.into_iter().map(call), last.into_iter().map(call));
    let (from, len) = (lit(program.embedding.start), lit(program.embedding.len()));
    let together = program.batch.as_ref().map(|batch| {
        let classify = call(&batch.step);
        quote!(if let rt::Output::Batch(logits) = output { #classify return; })
    });
    let gather = program.batch.as_ref().map(|batch| {
        let [features, stride] = [batch.features, batch.stride].map(lit);
        quote!(rt::Output::Feature(image) => #once { scratch.at(#features + image * #stride).copy(scratch.at(#from), #len) })
    });
    let batch_step = program.batch.as_ref().map(|batch| &batch.step.item);
    quote! {
        #[doc = #doc]
        #[cfg(#target)]
        mod #module {
            use super::rt;
            use super::rt::simd::#vectors::#module::*;

            type Src<'a> = rt::Src<'a, #element>;
            type Dst<'a> = rt::Dst<'a, #element>;
            type Area<'a> = rt::Area<'a, #element>;

            /// Zeros of the rows above and below an image.
            static ZERO: rt::Zeros<#zeros> = rt::Zeros::NEW;
            /// Places of the weights that the kernels below read.
            pub static PLAN: #plan_type = #plan;

            /// All steps in order.
            #feature
            pub fn run<#team_type I: #image, O: rt::Observer>(
                #team w: Src<'_>, scratch: Area<'_>, image: &I, output: rt::Output<Area<'_>>, observer: &mut O,
            ) {
                #release
                #one
                #together
                #(#body)*
                match output {
                    rt::Output::Logits(logits) => { #(#last)* }
                    rt::Output::Embedding(values) => #once { values.copy(scratch.at(#from), #len) }
                    #gather
                    _ => {}
                }
            }

            #(#steps)*
            #batch_step
            #(#kernels)*
        }
    }
}
