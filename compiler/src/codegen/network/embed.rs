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
            let elsewhere =
                format!("`{name}` was packed for {}, which this target does not have; pack it anew", isa.name());
            quote! {
                #[cfg(not(#target))]
                ::core::compile_error!(#elsewhere);

                #weights

                impl #network {
                    #[doc = #intro]
                    ///
                    /// They were packed before, and are used in place: nothing is copied.
                    ///
                    /// # Errors
                    /// If this processor lacks the instruction set that they were packed for.
                    pub fn embedded() -> ::core::result::Result<Self, rt::PackedError> {
                        static MODEL: rt::Lazy<#network, rt::PackedError> = rt::Lazy::new();
                        MODEL.get(|| Self::from_packed(&WEIGHTS.0))
                    }
                }
            }
        }
        Form::Container => {
            let why = format!(
                "`weights = \"{name}\"` is a container, which is packed on the heap where the program runs: enable mbvc's \
                 feature `alloc` or `std`, or embed what `mbvc pack {name} --isa ISA -o FILE` writes, which is used in place"
            );
            quote! {
                rt::needs_alloc!(#why);
                rt::with_alloc! {
                    #weights

                    impl #network {
                        #[doc = #intro]
                        ///
                        /// The first call checks them and packs them for this processor; all later ones hand out the same
                        /// model, whose clones share its memory. Without `std` each call packs: keep the model.
                        ///
                        /// # Errors
                        /// An instruction set that `MBVC_ISA` wants and that is not there.
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
