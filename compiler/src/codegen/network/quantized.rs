//! The type of a quantized network: numbers in, numbers out.

use proc_macro2::TokenStream;
use quote::quote;

use crate::codegen::network::{dispatch, pictures, plan, ready};
use crate::codegen::tokens::lit;
use crate::codegen::{Naming, Program};
use crate::spec::{NetworkSpec, Precision};

/// The type, its facts and its calls.
pub fn network_type(spec: &NetworkSpec, programs: &[Program], naming: &Naming) -> TokenStream {
    let name = &naming.name;
    let [height, width] = spec.resolution;
    let number = if spec.precision == Precision::Uint8 { quote!(u8) } else { quote!(i8) };
    let doc = format!(
        " {} of width {} in {}: `[{height}, {width}, 3]` to {} classes. Made by mbvc.",
        spec.name,
        spec.width,
        spec.precision.name(),
        spec.classes
    );
    let [input, classes, embedding] =
        [height * width * 3, spec.classes, programs.first().map_or(0, |program| program.embedding.len())].map(lit);
    let [height, width] = [height, width].map(lit);
    let bytes = programs.iter().map(|program| program.scratch_bytes).max().unwrap_or(0);
    let lines = lit(bytes.div_ceil(64));
    let (dispatch, plan) = (dispatch(spec, programs), plan(programs));
    let (ready, pictures) = (ready(spec.threads), pictures(&input));
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone)]
        pub struct #name(rt::quantized::Model<#number>);

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
                rt::quantized::Model::from_packed(&INFO, plan, bytes).map(#ready)
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
            pub fn isa(&self) -> rt::Isa { self.0.isa().isa() }

            /// What the numbers of image, embedding and logits stand for.
            pub fn edges(&self) -> &rt::quantized::Edges { self.0.edges() }

            /// From the image `[height, width, 3]`, quantized, to the logits. Allocates nothing, cannot fail.
            pub fn run(&self, scratch: &mut rt::Scratch<#lines>, input: &[#number; #input]) -> [#number; #classes] {
                self.run_with(scratch, input, rt::Unobserved)
            }

            /// `run`, showing every step's value to `observer`.
            pub fn run_with<O: rt::Observer>(
                &self, scratch: &mut rt::Scratch<#lines>, input: &[#number; #input], mut observer: O,
            ) -> [#number; #classes] {
                let mut logits = [0; #classes];
                let output = rt::Output::Logits(rt::Area::new(&mut logits));
                self.dispatch(scratch.bytes_mut(), &&input[..], output, &mut observer);
                rt::quantized::numbers(logits)
            }

            /// `run` on the image's bytes, red, green, blue, with the preprocessing that the weights ask for.
            pub fn run_pixels(&self, scratch: &mut rt::Scratch<#lines>, pixels: &[u8; #input]) -> [#number; #classes] {
                let mut logits = [0; #classes];
                let output = rt::Output::Logits(rt::Area::new(&mut logits));
                self.dispatch(scratch.bytes_mut(), &self.0.pixels(pixels), output, &mut rt::Unobserved);
                rt::quantized::numbers(logits)
            }

            /// `run` on a slice.
            ///
            /// # Errors
            /// If it has another length than the image.
            pub fn run_slice(
                &self, scratch: &mut rt::Scratch<#lines>, input: &[#number],
            ) -> ::core::result::Result<[#number; #classes], rt::LengthError> {
                rt::LengthError::check("input", #input, input.len())?;
                let mut logits = [0; #classes];
                let output = rt::Output::Logits(rt::Area::new(&mut logits));
                self.dispatch(scratch.bytes_mut(), &input, output, &mut rt::Unobserved);
                ::core::result::Result::Ok(rt::quantized::numbers(logits))
            }

            /// The vector before the classifier, for similarity and transfer learning.
            pub fn embed(
                &self, scratch: &mut rt::Scratch<#lines>, input: &[#number; #input],
            ) -> [#number; #embedding] {
                let mut values = [0; #embedding];
                let output = rt::Output::Embedding(rt::Area::new(&mut values));
                self.dispatch(scratch.bytes_mut(), &&input[..], output, &mut rt::Unobserved);
                rt::quantized::numbers(values)
            }

            /// `embed` of the image's bytes, red, green, blue, with the preprocessing that the weights ask for.
            pub fn embed_pixels(
                &self, scratch: &mut rt::Scratch<#lines>, pixels: &[u8; #input],
            ) -> [#number; #embedding] {
                let mut values = [0; #embedding];
                let output = rt::Output::Embedding(rt::Area::new(&mut values));
                self.dispatch(scratch.bytes_mut(), &self.0.pixels(pixels), output, &mut rt::Unobserved);
                rt::quantized::numbers(values)
            }

            /// The real numbers that logits stand for.
            pub fn dequantize(&self, logits: &[#number; #classes]) -> [f32; #classes] {
                let mut values = [0.0; #classes];
                self.0.dequantize(logits, &mut values);
                values
            }

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
                    rt::quantized::Model::build(&INFO, plan, weights, ::core::option::Option::None).map(#ready)
                }

                /// [`new`](Self::new) with the kernels of `isa`.
                ///
                /// # Errors
                /// As `new`; and if this processor has no `isa`, or the network was compiled without it.
                pub fn with_isa(weights: &rt::Weights, isa: rt::Isa) -> ::core::result::Result<Self, rt::ModelError> {
                    rt::quantized::Model::build(&INFO, plan, weights, ::core::option::Option::Some(isa)).map(#ready)
                }

                #pictures

                /// A scratch for `run`, on the heap.
                pub fn scratch() -> rt::Box<rt::Scratch<#lines>> { rt::Scratch::boxed() }
            }
        }

        impl rt::Network for #name {
            fn info(&self) -> &'static rt::NetworkInfo { &INFO }

            fn isa(&self) -> rt::Isa { self.0.isa().isa() }

            fn packed_bytes(&self) -> usize { self.0.packed_bytes() }

            fn is_fast(&self, _: usize) -> ::core::option::Option<bool> { ::core::option::Option::None }

            fn run_into(
                &self, scratch: &mut [f32], input: &[f32], logits: &mut [f32], observer: &mut dyn rt::Observer,
            ) -> ::core::result::Result<(), rt::LengthError> {
                rt::LengthError::check("input", #input, input.len())?;
                self.run_dynamic(scratch, &self.0.values(input), logits, observer)
            }

            fn run_pixels_into(
                &self, scratch: &mut [f32], pixels: &[u8], logits: &mut [f32], observer: &mut dyn rt::Observer,
            ) -> ::core::result::Result<(), rt::LengthError> {
                rt::LengthError::check("input", #input, pixels.len())?;
                self.run_dynamic(scratch, &self.0.pixels(pixels), logits, observer)
            }
        }

        impl #name {
            fn run_dynamic(
                &self, scratch: &mut [f32], image: &impl rt::quantized::Quantized, logits: &mut [f32],
                observer: &mut dyn rt::Observer,
            ) -> ::core::result::Result<(), rt::LengthError> {
                rt::LengthError::check("scratch", #lines * 16, scratch.len())?;
                rt::LengthError::check("logits", #classes, logits.len())?;
                let mut bytes = [0; #classes];
                let output = rt::Output::Logits(rt::Area::new(&mut bytes));
                self.dispatch(rt::bytes_of_floats(scratch), image, output, &mut rt::Dynamic(observer));
                self.0.dequantize(&rt::quantized::numbers(bytes), logits);
                ::core::result::Result::Ok(())
            }
        }

        #plan
    }
}
