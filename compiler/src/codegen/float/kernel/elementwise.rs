//! Activation and residual add over whole tensors. Fused builds replace these kernels with epilogues.

use quote::{format_ident, quote};

use super::{Vectors, activate, dst, prefix, src};
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::lit;
use crate::ir::{Activation, ElementType};
use crate::target::{Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elementwise {
    pub isa: Isa,
    pub op: Option<Activation>,
    /// Whole vectors of the tensor, including its border.
    pub vectors: usize,
    /// Type of the input, if it is not the output itself.
    pub input: Option<ElementType>,
    pub output: ElementType,
    pub residual: ElementType,
}

impl Elementwise {
    pub fn kernel(&self) -> Kernel {
        let (isa, vectors, lanes) = (self.isa, lit(self.vectors), self.isa.lanes());
        let op = match self.op {
            None => "add",
            Some(Activation::Relu) => "relu",
            Some(Activation::Relu6) => "relu6",
        };
        let prefix = prefix([self.input.unwrap_or(self.output), self.output]);
        let added = if self.op.is_none() && self.residual != self.output { self.residual.name() } else { "" };
        let name = format!("{prefix}_{op}{added}_n{}__{}", self.vectors * lanes, isa.name());
        let place = if self.input.is_none() { ", in place" } else { "" };
        let doc = format!(" `{op}` of {} numbers{place}.", self.vectors * lanes);
        let (ident, feature, lanes_lit) = (format_ident!("{name}"), isa.target_feature(), lit(lanes));
        let vectors_of = |element| Vectors { lanes, element };
        let at = quote!(at * #lanes_lit);
        let (input, from) = match self.input {
            None => (None, vectors_of(self.output).load(quote!(c.src()), at.clone(), lanes)),
            Some(element) => {
                let view = src(element);
                (Some(quote!(a: #view,)), vectors_of(element).load(quote!(a), at.clone(), lanes))
            }
        };
        let (params, value) = match self.op {
            None => {
                let view = src(self.residual);
                let residual = vectors_of(self.residual).load(quote!(r), at.clone(), lanes);
                (quote!(, r: #view), quote!(add(v, #residual)))
            }
            op => (quote!(), activate(op, quote!(v))),
        };
        let (output, store) = (dst(self.output), vectors_of(self.output).store(quote!(&mut c), at, value, lanes));
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(#input mut c: #output #params) {
                for at in 0..#vectors {
                    let v = #from;
                    #store
                }
            }
        };
        Kernel { name, item }
    }
}
