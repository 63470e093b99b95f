//! The items of a network: its type, its facts, and the choice of kernels at its entry.

mod batch;
mod embed;
pub mod facts;
mod quantized;

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::isa::IsaTokens;
use super::step::StepFn;
use super::tokens::lit;
use super::{Naming, Program, module_name};
use crate::spec::NetworkSpec;
pub use batch::Batch;
pub use embed::{Embedded, Form};

/// Everything that `mobilenet_v2!` expands to.
pub fn items(spec: &NetworkSpec, programs: &[Program], naming: &Naming, embedded: Option<&Embedded>) -> TokenStream {
    let Naming { name, runtime, attributes, visibility } = naming;
    let module = module_name(name);
    let modules = programs.iter().map(isa_module);
    let network = match spec.precision.is_quantized() {
        false => network_type(spec, programs, naming),
        true => quantized::network_type(spec, programs, naming),
    };
    let info = facts::info(spec, programs, naming);
    let embedded = embedded.map(|embedded| embed::items(embedded, name));
    quote! {
        #attributes
        #[doc(inline)]
        #visibility use #module::#name;

        #[doc(hidden)]
        #[allow(non_snake_case, unused, clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
        mod #module {
            use #runtime as rt;
            #network
            #embedded
            #info
            #(#modules)*
        }
    }
}

/// Kernels and steps for one instruction set, entered through `run`.
fn isa_module(program: &Program) -> TokenStream {
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
    let (element, image, plan_type, vectors) = match program.quantized {
        false => (quote!(f32), quote!(rt::Image), quote!(rt::PackPlan), quote!(float::)),
        true => (quote!(u8), quote!(rt::quantized::Quantized), quote!(rt::quantized::QuantPlan), quote!(quantized::)),
    };
    quote! {
        #[doc = #doc]
        #[cfg(#target)]
        mod #module {
            use super::rt;
            use super::rt::simd::#vectors #module::*;

            type Src<'a> = rt::Src<'a, #element>;
            type Dst<'a> = rt::Dst<'a, #element>;
            type Area<'a> = rt::Area<'a, #element>;

            /// What rows above and below an image hold.
            static ZERO: rt::Zeros<#zeros> = rt::Zeros::NEW;
            /// Where the weights go that the kernels below read.
            pub const PLAN: #plan_type = #plan;

            /// All steps in order.
            #feature
            pub fn run<#team_type I: #image, O: rt::Observer>(
                #team w: Src<'_>, scratch: Area<'_>, image: &I, output: rt::Output<'_, #element>, observer: &mut O,
            ) {
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

fn network_type(spec: &NetworkSpec, programs: &[Program], naming: &Naming) -> TokenStream {
    let name = &naming.name;
    let [height, width] = spec.resolution;
    let doc = format!(
        " {} of width {}: `[{height}, {width}, 3]` to {} classes. Made by mbvc.",
        spec.name, spec.width, spec.classes
    );
    let [input, classes, embedding] =
        [height * width * 3, spec.classes, programs.first().map_or(0, |program| program.embedding.len())].map(lit);
    let [height, width] = [height, width].map(lit);
    let bytes = programs.iter().map(|program| program.scratch_bytes).max().unwrap_or(0);
    let lines = lit(bytes.div_ceil(64));
    let batch = batch::methods(spec.batch, [&lines, &input, &classes]);
    let (plan, dispatch) = (plan(programs), dispatch(spec, programs));
    let (ready, pictures) = (ready(spec.threads), pictures(&input));
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone)]
        pub struct #name(rt::Model);

        impl #name {
            /// Height, width and channels of the image.
            pub const INPUT: [usize; 3] = [#height, #width, 3];
            /// Length of the logits.
            pub const CLASSES: usize = #classes;
            /// Length of the vector before the classifier.
            pub const EMBEDDING: usize = #embedding;
            /// Bytes that a call writes between its input and its output.
            pub const SCRATCH_BYTES: usize = #lines * 64;
            /// All facts in one, as `Network::info` tells them of a model.
            pub const INFO: &'static rt::NetworkInfo = &INFO;
            /// The convolutions and the classifier, as the published table counts them.
            pub const LAYERS: &'static [rt::Layer] = INFO.layers;
            /// What runs, in order.
            pub const STEPS: &'static [rt::Step] = INFO.steps;

            /// A scratch for `run`; as a `static` where there is no heap.
            pub const fn static_scratch() -> rt::Scratch<#lines> { rt::Scratch::new() }

            /// From packed weights, which are used in place.
            ///
            /// # Errors
            /// If the bytes were packed for something else.
            pub fn from_packed(bytes: &'static [u8]) -> ::core::result::Result<Self, rt::PackedError> {
                rt::from_packed(&INFO, plan, bytes).map(#ready)
            }

            /// Bytes of [`pack`](Self::pack)'s result; `None` if the network was not compiled for `isa`.
            pub fn packed_bytes_for(
                weights: &rt::Container<'_>, isa: rt::Isa,
            ) -> ::core::option::Option<usize> {
                rt::packed_file_bytes(&INFO, plan, weights, isa)
            }

            /// Packs weights for `isa` into `file`, from which `from_packed` makes a model.
            ///
            /// # Errors
            /// If a convention or a tensor is not the network's, or `file` is not of `packed_bytes_for` bytes, or lies at
            /// no multiple of 64.
            pub fn pack(
                weights: &rt::Container<'_>, isa: rt::Isa, file: &mut [u8],
            ) -> ::core::result::Result<(), rt::PackError> {
                rt::pack_file(&INFO, plan, weights, isa, file)
            }

            /// The instruction set whose kernels run.
            pub fn isa(&self) -> rt::Isa { self.0.isa.isa() }

            /// From the image `[height, width, 3]`, preprocessed, to the logits. Allocates nothing, cannot fail.
            pub fn run(&self, scratch: &mut rt::Scratch<#lines>, input: &[f32; #input]) -> [f32; #classes] {
                self.run_with(scratch, input, rt::Unobserved)
            }

            /// `run`, showing every step's value to `observer`.
            pub fn run_with<O: rt::Observer>(
                &self, scratch: &mut rt::Scratch<#lines>, input: &[f32; #input], mut observer: O,
            ) -> [f32; #classes] {
                let mut logits = [0.0; #classes];
                let output = rt::Output::Logits(rt::Area::new(&mut logits));
                self.dispatch(scratch.floats_mut(), &&input[..], output, &mut observer);
                logits
            }

            /// `run` on the image's bytes, red, green, blue, with the preprocessing that the weights ask for.
            pub fn run_pixels(&self, scratch: &mut rt::Scratch<#lines>, pixels: &[u8; #input]) -> [f32; #classes] {
                let image = rt::Pixels { bytes: pixels, preprocess: self.0.preprocess };
                let mut logits = [0.0; #classes];
                let output = rt::Output::Logits(rt::Area::new(&mut logits));
                self.dispatch(scratch.floats_mut(), &image, output, &mut rt::Unobserved);
                logits
            }

            /// `run` on a slice.
            ///
            /// # Errors
            /// If it has another length than the image.
            pub fn run_slice(
                &self, scratch: &mut rt::Scratch<#lines>, input: &[f32],
            ) -> ::core::result::Result<[f32; #classes], rt::LengthError> {
                rt::LengthError::check("input", #input, input.len())?;
                let mut logits = [0.0; #classes];
                let output = rt::Output::Logits(rt::Area::new(&mut logits));
                self.dispatch(scratch.floats_mut(), &input, output, &mut rt::Unobserved);
                ::core::result::Result::Ok(logits)
            }

            /// The vector before the classifier, for similarity and transfer learning.
            pub fn embed(&self, scratch: &mut rt::Scratch<#lines>, input: &[f32; #input]) -> [f32; #embedding] {
                let mut values = [0.0; #embedding];
                let output = rt::Output::Embedding(rt::Area::new(&mut values));
                self.dispatch(scratch.floats_mut(), &&input[..], output, &mut rt::Unobserved);
                values
            }

            /// `embed` of the image's bytes, red, green, blue, with the preprocessing that the weights ask for.
            pub fn embed_pixels(&self, scratch: &mut rt::Scratch<#lines>, pixels: &[u8; #input]) -> [f32; #embedding] {
                let image = rt::Pixels { bytes: pixels, preprocess: self.0.preprocess };
                let mut values = [0.0; #embedding];
                let output = rt::Output::Embedding(rt::Area::new(&mut values));
                self.dispatch(scratch.floats_mut(), &image, output, &mut rt::Unobserved);
                values
            }

            #batch

            #dispatch
        }

        rt::with_alloc! {
            impl #name {
                /// Checks every name, shape and convention of the weights, and packs them for this processor. Where the
                /// macro was given `weights = "FILE"`, `embedded` does so with those, without a file.
                ///
                /// # Errors
                /// All differences between the weights and the network at once; an instruction set that `MBVC_ISA`
                /// wants and that is not there.
                pub fn new(weights: &rt::Weights) -> ::core::result::Result<Self, rt::ModelError> {
                    rt::build(&INFO, plan, weights, ::core::option::Option::None).map(#ready)
                }

                /// [`new`](Self::new) with the kernels of `isa`.
                ///
                /// # Errors
                /// As `new`; and if this processor has no `isa`, or the network was compiled without it.
                pub fn with_isa(weights: &rt::Weights, isa: rt::Isa) -> ::core::result::Result<Self, rt::ModelError> {
                    rt::build(&INFO, plan, weights, ::core::option::Option::Some(isa)).map(#ready)
                }

                #pictures

                /// A scratch for `run`, on the heap.
                pub fn scratch() -> rt::Box<rt::Scratch<#lines>> { rt::Scratch::boxed() }
            }
        }

        impl rt::Network for #name {
            fn info(&self) -> &'static rt::NetworkInfo { &INFO }

            fn isa(&self) -> rt::Isa { self.0.isa.isa() }

            fn packed_bytes(&self) -> usize { self.0.packed.floats().len() * 4 }

            fn is_fast(&self, index: usize) -> ::core::option::Option<bool> {
                plan(self.0.isa.isa())?.is_fast(INFO.layers.get(index)?.name, self.0.packed.floats())
            }

            fn run_into(
                &self, scratch: &mut [f32], input: &[f32], logits: &mut [f32], observer: &mut dyn rt::Observer,
            ) -> ::core::result::Result<(), rt::LengthError> {
                rt::LengthError::check("scratch", #lines * 16, scratch.len())?;
                rt::LengthError::check("input", #input, input.len())?;
                rt::LengthError::check("logits", #classes, logits.len())?;
                let output = rt::Output::Logits(rt::Area::new(logits));
                self.dispatch(scratch, &input, output, &mut rt::Dynamic(observer));
                ::core::result::Result::Ok(())
            }

            fn run_pixels_into(
                &self, scratch: &mut [f32], pixels: &[u8], logits: &mut [f32], observer: &mut dyn rt::Observer,
            ) -> ::core::result::Result<(), rt::LengthError> {
                rt::LengthError::check("scratch", #lines * 16, scratch.len())?;
                rt::LengthError::check("input", #input, pixels.len())?;
                rt::LengthError::check("logits", #classes, logits.len())?;
                let image = rt::Pixels { bytes: pixels, preprocess: self.0.preprocess };
                let output = rt::Output::Logits(rt::Area::new(logits));
                self.dispatch(scratch, &image, output, &mut rt::Dynamic(observer));
                ::core::result::Result::Ok(())
            }
        }

        #plan
    }
}

/// What looks at pictures rather than pixels, and knows the names of the classes.
pub fn pictures(input: &Literal) -> TokenStream {
    quote! {
        /// What a picture of any size shows: all classes, the likeliest first. The picture is framed and preprocessed as
        /// the weights ask for. Works in memory that it allocates, unlike `run_pixels`.
        ///
        /// # Errors
        /// If the picture has no pixels.
        pub fn classify(
            &self, picture: &impl rt::Picture,
        ) -> ::core::result::Result<rt::Vec<rt::Guess<'_>>, rt::PictureError> {
            rt::classify(self, self.0.about(), picture)
        }

        /// The pixels of a picture of any size that `run_pixels` and `embed_pixels` take: squashed or cropped as the
        /// weights ask for.
        ///
        /// # Errors
        /// If the picture has no pixels.
        pub fn frame(
            &self, picture: &impl rt::Picture,
        ) -> ::core::result::Result<rt::Box<[u8; #input]>, rt::PictureError> {
            rt::frame(&INFO, self.0.about(), picture)
        }

        /// Names of the classes in the order of the logits; empty if the weights came without.
        pub fn labels(&self) -> &[rt::String] { &self.0.about().labels }
    }
}

/// The functions that choose among the instruction sets: `dispatch` takes the scratch, `enter` is one member's part.
pub fn dispatch(spec: &NetworkSpec, programs: &[Program]) -> TokenStream {
    let many = spec.threads > 1;
    let team = many.then(|| quote!(team,));
    let (team_type, team_parameter) = (many.then(|| quote!(T: rt::Team,)), many.then(|| quote!(team: T,)));
    let enter = enter(spec.threads);
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
    let (element, image, block, isa) = match spec.precision.is_quantized() {
        false => (quote!(f32), quote!(rt::Image), quote!(rt::Src::new(self.0.packed.floats())), quote!(self.0.isa)),
        true => (quote!(u8), quote!(rt::quantized::Quantized), quote!(self.0.block()), quote!(self.0.isa())),
    };
    quote! {
        #[inline]
        fn dispatch<I: #image, O: rt::Observer>(
            &self, scratch: &mut [#element], image: &I, output: rt::Output<'_, #element>, observer: &mut O,
        ) {
            let (w, scratch) = (#block, rt::Area::new(scratch));
            let isa = #isa;
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
pub fn plan(programs: &[Program]) -> TokenStream {
    let plans = programs.iter().map(|program| {
        let (target, variant, module) = (program.isa.target(), program.isa.variant(), program.isa.module());
        quote!(#[cfg(#target)] rt::Isa::#variant => ::core::option::Option::Some(#module::PLAN),)
    });
    let plan_type = match programs.first().is_some_and(|program| program.quantized) {
        false => quote!(rt::PackPlan),
        true => quote!(rt::quantized::QuantPlan),
    };
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
