//! Widens rows of bytes for the fast inner product of an expansion.

use quote::{format_ident, quote};

use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::{affine, lit, repeat};
use crate::ir::Widened;
use crate::target::Isa;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widen {
    pub isa: Isa,
    /// Rows of a call.
    pub rows: usize,
    pub to: Widened,
}

impl Widen {
    pub fn kernel(&self) -> Kernel {
        let Self { isa, rows, to } = *self;
        let Widened { run: channels, cols, .. } = to;
        let name = format!("u8_widen_k{channels}_rows{rows}_px{cols}__{}", isa.name());
        let doc = format!(" {rows} rows of {cols} pixels of {channels} channels as 16-bit numbers.");
        let (ident, feature, quads, count) =
            (format_ident!("{name}"), isa.target_feature(), lit(to.quads()), lit(rows));
        let from = affine(0, &[("pixel", channels, cols)]);
        let rows = (0..rows).map(|row| {
            let (row_lit, at) = (lit(row), affine(row * to.row(), &[("pixel", to.pixel(), cols)]));
            quote!(widen::<#quads>(a[#row_lit], #from, &mut c, #at);)
        });
        let body = repeat("pixel", cols, quote!(#(#rows)*));
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #count], mut c: Dst<'_>) {
                #body
            }
        };
        Kernel { name, item }
    }
}
