//! Copies rows of pixels into row quads, if no convolution produces the depthwise input.

use quote::{format_ident, quote};

use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::{affine, lit, repeat};
use crate::schedule::quantized::QUAD;
use crate::target::{Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interleave {
    pub isa: Isa,
    /// Rows of the quad that are in the image: the first one, and their number. The other rows hold the zero point.
    pub first: usize,
    pub rows: usize,
    pub cols: usize,
    /// Channels per call.
    pub channels: usize,
    /// Bytes from one input pixel to the next.
    pub a_pixel: usize,
    /// Bytes from one vector of channels to the next.
    pub c_vector: usize,
}

impl Interleave {
    pub fn kernel(&self) -> Kernel {
        let Self { isa, first, rows, cols, channels, a_pixel, c_vector } = *self;
        let end = first + rows;
        let isa_name = isa.name();
        let name = format!("u8_quads_ch{channels}_rows{first}to{end}_px{cols}_a{a_pixel}_c{c_vector}__{isa_name}");
        let doc = format!(" Rows {first}..{end} of a row quad of {cols} pixels of {channels} channels.");
        let (ident, feature, lanes) = (format_ident!("{name}"), isa.target_feature(), isa.lanes());
        let parts = (0..channels.div_ceil(lanes)).map(|vector| {
            let some = lit(lanes.min(channels - vector * lanes));
            let from = affine(vector * lanes, &[("pixel", a_pixel, cols)]);
            let to = affine(vector * c_vector, &[("pixel", lanes * QUAD, cols)]);
            let rows = (0..QUAD).map(|row| match row.checked_sub(first).filter(|row| *row < rows) {
                Some(row) => {
                    let row = lit(row);
                    quote!(centered::<#some>(a[#row], #from, range))
                }
                None => quote!(none()),
            });
            quote!(store_quads(&mut c, #to, pack([#(#rows),*], range));)
        });
        let body = repeat("pixel", cols, quote!(#(#parts)*));
        let rows = lit(rows);
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #rows], h: Src<'_>, mut c: Dst<'_>) {
                let range = padding(h);
                #body
            }
        };
        Kernel { name, item }
    }
}
