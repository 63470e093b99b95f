//! Calls that make all output channels of some rows, panel by panel.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::codegen::conv::{Conv, Panels};
use crate::codegen::kernel::{Kernel, lit};
use crate::codegen::pack::PackedLayer;
use crate::ir::Product;

/// A convolution at one place of a step; the tokens are expressions of the surrounding code.
pub struct PanelCalls<'a> {
    pub conv: &'a Conv,
    pub layer: &'a PackedLayer,
    /// Output rows of a call.
    pub rows: usize,
    /// `[Src; runs]`: the first pixel's window.
    pub windows: TokenStream,
    /// Where the weights of the channel group begin, beyond those of the first.
    pub weights: Option<TokenStream>,
    /// The slice that is written, and the first pixel's place in it.
    pub out: TokenStream,
    pub to: TokenStream,
    /// The slice and the place of the first pixel's residual.
    pub residual: Option<(TokenStream, TokenStream)>,
    /// For the fast inner product.
    pub fast: Option<Fast>,
}

/// What the fast inner product needs beside weights.
pub struct Fast {
    /// A `bool`: whether the layer takes it.
    pub wanted: Ident,
    /// `Src`: the first pixel's dot.
    pub dots: TokenStream,
}

impl PanelCalls<'_> {
    pub fn code(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        let calls = self.conv.panels().into_iter().zip(&self.layer.at).map(|(panels, at)| {
            let plain = self.call(&panels, *at, None, kernels);
            let call = match &self.fast {
                None => plain,
                Some(fast) => {
                    let wanted = &fast.wanted;
                    let fast = self.call(&panels, *at, Some(fast), kernels);
                    quote!(if #wanted { #fast } else { #plain })
                }
            };
            match panels.count {
                1 => call,
                count => {
                    let count = lit(count);
                    quote!(for panel in 0..#count { #call })
                }
            }
        });
        quote!(#(#calls)*)
    }

    fn call(&self, panels: &Panels, at: usize, fast: Option<&Fast>, kernels: &mut Vec<Kernel>) -> TokenStream {
        let product = if fast.is_some() { Product::Fast } else { Product::Plain };
        let kernel = self.conv.gemm(panels, self.rows, product).kernel();
        let ident = kernel.ident();
        kernels.push(kernel);
        // A plain kernel does not see the row of scales that begins a panel for both.
        let skipped = if self.conv.is_fast() && fast.is_none() { panels.width() } else { 0 };
        let (at, stride, width) = (lit(at + skipped), lit(self.conv.panel_floats(panels)), lit(panels.width()));
        let first = (panels.first > 0).then(|| lit(panels.first)).map(|first| quote!(+ #first));
        let (panel_w, panel_c) = match panels.count {
            1 => (quote!(), quote!()),
            _ => (quote!(+ panel * #stride), quote!(+ panel * #width)),
        };
        let Self { windows, weights, out, to, .. } = self;
        let weights = weights.as_ref().map(|group| quote!(+ #group));
        let dots = fast.map(|fast| &fast.dots).map(|dots| quote!(#dots,));
        let residual = self.residual.as_ref().map(|(from, at)| quote!(, rt::src(#from, #at #first #panel_c)));
        quote!(#ident(#windows, #dots w.at(#at #weights #panel_w), rt::dst(#out, #to #first #panel_c) #residual);)
    }
}

/// `let fast = ...;`: whether a layer takes the fast inner product.
pub fn wanted(name: &Ident, layer: &PackedLayer) -> TokenStream {
    let at = layer.at.first().copied().map(lit);
    quote!(let #name = rt::is_fast(w, #at);)
}

/// The call that makes the dots of `rows` output rows; `streams` are the first pixel's window, `[Src; runs]`.
pub fn dots(
    conv: &Conv,
    rows: usize,
    windows: &TokenStream,
    to: &TokenStream,
    kernels: &mut Vec<Kernel>,
) -> TokenStream {
    let dots = conv.dots(rows);
    let third = lit(dots.len);
    let kernel = dots.kernel();
    let ident = kernel.ident();
    kernels.push(kernel);
    match conv.window.kernel[0] {
        1 => quote!({ let [x] = #windows; #ident(x, x.at(#third), #to); }),
        _ => quote!({ let [x, y, ..] = #windows; #ident(x, y, #to); }),
    }
}

/// The name under which a step knows whether a layer is fast.
pub fn wanted_name(role: &str) -> Ident {
    format_ident!("{role}_fast")
}
