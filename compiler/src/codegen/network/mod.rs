//! The items of a network: its type, its facts, and the dispatch to its kernels.

mod batch;
mod dispatch;
mod embed;
pub mod facts;
mod hints;
mod isa_module;
mod model;
mod numbers;
mod quantized;
mod steps;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::{Naming, Program};
use crate::spec::NetworkSpec;
pub use batch::Batch;
pub use embed::{Embedded, Form};
use numbers::Numbers;

/// Returns the expansion of `mobilenet_v2!`: a private module of items, and the type in it.
pub fn items(spec: &NetworkSpec, programs: &[Program], naming: &Naming, embedded: Option<&Embedded>) -> TokenStream {
    let Naming { name, runtime, .. } = naming;
    let (module, numbers) = (module_name(name), Numbers::of(spec.precision));
    let network = model::items(spec, programs, name, &numbers);
    let modules = programs.iter().map(|program| isa_module::items(program, &numbers));
    let info = facts::info(spec, programs, naming);
    let embedded = match embedded {
        Some(embedded) => embed::items(embedded, name),
        None => hints::without_weights(name),
    };
    let definition = hints::definition(naming, &module);
    quote! {
        #definition

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

/// Returns the name of the private module with a network's items.
fn module_name(name: &Ident) -> Ident {
    format_ident!("__mbvc_{}", name)
}
