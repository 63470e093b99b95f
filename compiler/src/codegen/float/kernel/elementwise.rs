//! Activation and residual add over whole tensors, in place. Fused builds replace these kernels with epilogues.

use quote::{format_ident, quote};

use super::activate;
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::lit;
use crate::ir::Activation;
use crate::target::{Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elementwise {
    pub isa: Isa,
    pub op: Option<Activation>,
    /// Whole vectors of the tensor, including its border.
    pub vectors: usize,
}

impl Elementwise {
    pub fn kernel(&self) -> Kernel {
        let (isa, vectors) = (self.isa, lit(self.vectors));
        let op = match self.op {
            None => "add",
            Some(Activation::Relu) => "relu",
            Some(Activation::Relu6) => "relu6",
        };
        let name = format!("f32_{op}_n{}__{}", self.vectors * isa.lanes(), isa.name());
        let doc = format!(" `{op}` of {} floats, in place.", self.vectors * isa.lanes());
        let (ident, feature, lanes) = (format_ident!("{name}"), isa.target_feature(), lit(isa.lanes()));
        let (params, value) = match self.op {
            None => (quote!(, r: Src<'_>), quote!(add(v, load(r, at * #lanes)))),
            op => (quote!(), activate(op, quote!(v))),
        };
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(mut c: Dst<'_> #params) {
                for at in 0..#vectors {
                    let v = load(c.src(), at * #lanes);
                    store(&mut c, at * #lanes, #value);
                }
            }
        };
        Kernel { name, item }
    }
}
