//! Weights that are embedded in the program, and the method that builds a model from them.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::codegen::isa::IsaTokens;
use crate::target::Isa;

/// A weights file that the program includes.
pub struct Embedded {
    /// Format of the file, which determines the generated method.
    pub form: Form,
    /// Name of the file in documentation and messages, as the user wrote it.
    pub name: String,
    /// Expression of type `&'static [u8; N]` for the bytes.
    pub bytes: TokenStream,
}

/// Format of a weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A container, packed at run time.
    Container,
    /// Weights packed for one instruction set, used in place.
    Packed(Isa),
}

/// Returns the static bytes and the method.
pub fn items(embedded: &Embedded, network: &Ident) -> TokenStream {
    let Embedded { form, name, bytes } = embedded;
    let weights = quote! {
        /// The kernels read whole cache lines.
        static WEIGHTS: &rt::Aligned<[u8]> = &rt::Aligned(*#bytes);
    };
    let intro = format!(" The model of the weights in `{name}`, which are part of the program.");
    match form {
        Form::Packed(isa) => {
            let target = isa.target();
            let elsewhere = format!(
                "`{name}` was packed for {}, which this target does not support; pack the weights again",
                isa.name()
            );
            quote! {
                #[cfg(not(#target))]
                ::core::compile_error!(#elsewhere);

                #weights

                impl #network {
                    #[doc = #intro]
                    ///
                    /// They are packed already and used in place: nothing is copied.
                    ///
                    /// # Errors
                    /// If this processor does not support the instruction set that they were packed for.
                    pub fn embedded() -> ::core::result::Result<Self, rt::PackedError> {
                        static MODEL: rt::Lazy<#network, rt::PackedError> = rt::Lazy::new();
                        MODEL.get(|| Self::from_packed(&WEIGHTS.0))
                    }
                }
            }
        }
        Form::Container => {
            let why = format!(
                "`weights = \"{name}\"` is a weights file, which is packed on the heap at run time: enable the feature \
                 `alloc` or `std` of mbvc, or embed a packed file, which is used in place: `mbvc pack {name} --isa ISA -o FILE`"
            );
            quote! {
                rt::needs_alloc!(#why);
                rt::with_alloc! {
                    #weights

                    impl #network {
                        #[doc = #intro]
                        ///
                        /// The first call checks them and packs them for this processor. Later calls return a clone of
                        /// this model; clones share its memory. Without `std` each call packs the weights: keep the
                        /// model.
                        ///
                        /// # Errors
                        /// If `MBVC_ISA` requests an instruction set that is not available.
                        pub fn embedded() -> ::core::result::Result<Self, rt::ModelError> {
                            static MODEL: rt::Lazy<#network, rt::ModelError> = rt::Lazy::new();
                            MODEL.get(|| Self::new(&rt::Weights::from_static(&WEIGHTS.0)?.with_source(#name)))
                        }
                    }
                }
            }
        }
    }
}
