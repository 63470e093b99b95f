//! Calls that compute all output channels of some rows, panel by panel.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::conv::{Conv, Panels};
use super::pack::PackedLayer;
use crate::codegen::kernel::Kernel;
use crate::codegen::step::{Team, by_size};
use crate::codegen::tokens::{lit, sum};
use crate::ir::{ElementType, Product};

/// The calls of a convolution in a step. The tokens are expressions of the surrounding code.
pub struct PanelCalls<'a> {
    pub conv: &'a Conv,
    pub layer: &'a PackedLayer,
    /// Output rows per call.
    pub rows: usize,
    /// Window of the first pixel: `[Src; runs]`.
    pub windows: TokenStream,
    /// Offset of the channel group's weights from those of the first group.
    pub weights: Option<TokenStream>,
    /// Output slice, and the first pixel's offset in it.
    pub out: TokenStream,
    pub to: TokenStream,
    /// Residual slice, the first pixel's offset in it, and its type.
    pub residual: Option<(TokenStream, TokenStream, ElementType)>,
    /// Arguments of the fast inner product, if it may be used.
    pub fast: Option<Fast>,
    /// Team that shares the panels.
    pub team: Team,
}

/// Arguments of the fast inner product in addition to weights.
pub struct Fast {
    /// Name of a `bool`: whether the layer uses the fast inner product.
    pub flag: Ident,
    /// Dot of the first pixel: a `Src`.
    pub dots: TokenStream,
}

impl PanelCalls<'_> {
    pub fn code(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        if self.team.are_many() {
            return self.shared(kernels);
        }
        let calls = self.forms().into_iter().map(|(panels, at)| {
            let call = self.either(&panels, at, None, kernels);
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

    /// Returns the panels, and the offset of the weights of each form.
    fn forms(&self) -> Vec<(Panels, usize)> {
        self.conv.panels().into_iter().zip(self.layer.at.iter().copied()).collect()
    }

    /// Returns a loop over this thread's share of all panels. If the panels do not balance the load, the pixels are
    /// split too.
    fn shared(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        let forms = self.forms();
        let count: usize = forms.iter().map(|(panels, _)| panels.count).sum();
        let cuts = self.conv.cuts(self.rows, self.team.0);
        if let [(_, 1)] = *cuts {
            let (range, calls) = (self.team.share(count), self.any(&forms, None, kernels));
            return quote!(for panel in #range { #calls });
        }
        let parts: usize = cuts.iter().map(|(_, parts)| parts).sum();
        let (range, count) = (self.team.share(parts * count), lit(count));
        let calls = by_size(&cuts, |size| self.any(&forms, Some(size), kernels));
        quote! {
            for unit in #range {
                let (part, panel) = (unit / #count, unit % #count);
                #calls
            }
        }
    }

    /// Returns the call for panel `panel` of any form.
    fn any(&self, forms: &[(Panels, usize)], part: Option<usize>, kernels: &mut Vec<Kernel>) -> TokenStream {
        let [(panels, at), rest @ ..] = forms else { return quote!() };
        let call = self.either(panels, *at, part, kernels);
        if rest.is_empty() {
            return call;
        }
        let (count, rest) = (lit(panels.count), self.any(rest, part, kernels));
        quote! {
            if panel < #count {
                #call
            } else {
                let panel = panel - #count;
                #rest
            }
        }
    }

    /// Returns the call of the plain kernel, or of the fast one if the weights are packed for it.
    fn either(&self, panels: &Panels, at: usize, part: Option<usize>, kernels: &mut Vec<Kernel>) -> TokenStream {
        let plain = self.call(panels, at, part, None, kernels);
        match &self.fast {
            None => plain,
            Some(fast) => {
                let flag = &fast.flag;
                let fast = self.call(panels, at, part, Some(fast), kernels);
                quote!(if #flag { #fast } else { #plain })
            }
        }
    }

    /// Returns the call for `part` pixels from pixel `first`, or for all pixels.
    fn call(
        &self,
        panels: &Panels,
        at: usize,
        part: Option<usize>,
        fast: Option<&Fast>,
        kernels: &mut Vec<Kernel>,
    ) -> TokenStream {
        let product = if fast.is_some() { Product::Fast } else { Product::Plain };
        let residual = self.residual.as_ref().map_or(self.conv.output.element, |(.., element)| *element);
        let mut gemm = self.conv.gemm(panels, self.rows, product, residual);
        let cut = self.conv.cut(self.rows);
        if let Some(part) = part {
            (gemm.rows, gemm.cols) = if cut.flat { (1, part) } else { (part, gemm.cols) };
        }
        let from = |floats: usize| part.map(|_| lit(floats)).map(|floats| quote!(first * #floats));
        let (from_a, from_d, from_c) = (from(cut.input), from(cut.pixels), from(cut.output));
        let kernel = gemm.kernel();
        let ident = kernel.ident();
        kernels.push(kernel);
        // A plain kernel skips the row of scales at the start of a panel.
        let skipped = if self.conv.is_fast() && fast.is_none() { panels.width() } else { 0 };
        let (at, stride, width) = (lit(at + skipped), lit(self.conv.panel_floats(panels)), lit(panels.width()));
        let (panel_w, panel_c) = match panels.count {
            1 => (quote!(), quote!()),
            _ => (quote!(panel * #stride), quote!(panel * #width)),
        };
        let Self { windows, weights, out, to, .. } = self;
        let windows = from_a.map_or_else(|| windows.clone(), |at| quote!(#windows.map(|a| a.at(#at))));
        let weights = sum(&[quote!(#at), weights.clone().unwrap_or_default(), panel_w]);
        let first = lit(panels.first);
        let place =
            |to: &TokenStream| sum(&[to.clone(), from_c.clone().unwrap_or_default(), quote!(#first), panel_c.clone()]);
        let at_d = from_d.map(|at| quote!(.at(#at)));
        let dots = fast.map(|fast| &fast.dots).map(|dots| quote!(#dots #at_d,));
        let residual = self.residual.as_ref().map(|(from, at, _)| {
            let at = place(at);
            quote!(, rt::src(#from, #at))
        });
        let to = place(to);
        quote!(#ident(#windows, #dots w.at(#weights), rt::dst(#out, #to) #residual);)
    }
}

/// Returns `let fast = ...;`, which records whether a layer uses the fast inner product.
pub fn flag(name: &Ident, layer: &PackedLayer) -> TokenStream {
    let at = layer.at.first().copied().map(lit);
    quote!(let #name = rt::is_fast(w, #at);)
}

/// Returns the call that computes the dots of `rows` output rows. `streams` is the first pixel's window: `[Src;
/// runs]`.
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

/// Returns the name of the variable that records whether a layer uses the fast inner product.
pub fn flag_name(role: &str) -> Ident {
    format_ident!("{role}_fast")
}
