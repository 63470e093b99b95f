//! Calls that compute all output channels of some rows, panel by panel.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::conv::{Conv, Panels};
use super::pack::PackedLayer;
use crate::codegen::kernel::Kernel;
use crate::codegen::prefetch::Next;
use crate::codegen::step::{Team, by_size};
use crate::codegen::tokens::{lit, repeat, sum};
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
    /// Weights of the next layer that the kernels of plain products prefetch.
    pub next: Option<Next>,
    /// Team that shares the panels.
    pub team: Team,
}

/// Arguments of the fast inner product in addition to weights.
pub struct Fast {
    /// Name of a `bool`: whether the layer uses the fast inner product.
    pub flag: Ident,
    /// Dot of the first pixel: a `Src`.
    pub dots: TokenStream,
    /// Weights of the next layer that the kernels of the fast inner product prefetch.
    pub next: Option<Next>,
}

impl PanelCalls<'_> {
    pub fn code(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        if self.team.are_many() {
            return self.shared(kernels);
        }
        let calls = self.forms().into_iter().map(|form| {
            let call = self.either(&form, None, kernels);
            repeat("panel", form.panels.count, call)
        });
        quote!(#(#calls)*)
    }

    /// Returns the panels, and the offsets of the weights of each form.
    fn forms(&self) -> Vec<Form> {
        let fast = self.layer.fast.iter().map(|at| Some(*at)).chain(std::iter::repeat(None));
        let forms = self.conv.panels().into_iter().zip(&self.layer.at).zip(fast);
        forms.map(|((panels, at), fast)| Form { panels, at: *at, fast }).collect()
    }

    /// Returns a loop over this thread's share of all panels. If the panels do not balance the load, the pixels are
    /// split too.
    fn shared(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        let forms = self.forms();
        let count: usize = forms.iter().map(|form| form.panels.count).sum();
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
    fn any(&self, forms: &[Form], part: Option<usize>, kernels: &mut Vec<Kernel>) -> TokenStream {
        let [form, rest @ ..] = forms else { return quote!() };
        let call = self.either(form, part, kernels);
        if rest.is_empty() {
            return call;
        }
        let (count, rest) = (lit(form.panels.count), self.any(rest, part, kernels));
        quote! {
            if panel < #count {
                #call
            } else {
                let panel = panel - #count;
                #rest
            }
        }
    }

    /// Returns the call of the plain kernel, or of the fast ones if the weights are packed for them: one for each vector
    /// of the panel.
    fn either(&self, form: &Form, part: Option<usize>, kernels: &mut Vec<Kernel>) -> TokenStream {
        let Form { panels, at, fast } = form;
        let index = |name: &str, count: usize, step: usize| {
            let (name, step) = (format_ident!("{name}"), lit(step));
            if count > 1 { quote!(#name * #step) } else { quote!() }
        };
        let panel = |step: usize| index("panel", panels.count, step);
        let plain = Call {
            panels: *panels,
            at: *at,
            step: panel(self.conv.panel_floats(panels)),
            first: panels.first,
            channels: panel(panels.width()),
        };
        let plain = self.call(&plain, part, None, kernels);
        let Some((fast, at)) = self.fast.as_ref().zip(*fast) else { return plain };
        let floats = self.conv.fast_floats(panels);
        let calls = panels.vectors().into_iter().map(|vectors| {
            let step = floats / panels.nv;
            let vector = |step: usize| index("vector", vectors.count, step);
            let call = Call {
                panels: vectors,
                at: at + vectors.first / vectors.lanes * step,
                step: sum(&[panel(floats), vector(step)]),
                first: panels.first + vectors.first,
                channels: sum(&[panel(panels.width()), vector(vectors.lanes)]),
            };
            repeat("vector", vectors.count, self.call(&call, part, Some(fast), kernels))
        });
        let flag = &fast.flag;
        quote!(if #flag { #(#calls)* } else { #plain })
    }

    /// Returns the call for `part` pixels from pixel `first`, or for all pixels.
    fn call(&self, call: &Call, part: Option<usize>, fast: Option<&Fast>, kernels: &mut Vec<Kernel>) -> TokenStream {
        let product = match self.conv.product {
            Product::Fast if fast.is_none() => Product::Plain,
            product => product,
        };
        let residual = self.residual.as_ref().map_or(self.conv.output.element, |(.., element)| *element);
        let mut gemm = self.conv.gemm(&call.panels, self.rows, product, residual);
        let cut = self.conv.cut(self.rows);
        if let Some(part) = part {
            (gemm.rows, gemm.cols) = if cut.flat { (1, part) } else { (part, gemm.cols) };
        }
        let from = |floats: usize| part.map(|_| lit(floats)).map(|floats| quote!(first * #floats));
        let (from_a, from_d, from_c) = (from(cut.input), from(cut.pixels), from(cut.output));
        let next = fast.map_or(self.next, |fast| fast.next).filter(|_| part.is_none()).map(|next| {
            gemm.next = call.panels.width() * next.per_channel;
            let first = lit(call.first);
            next.argument(&sum(&[quote!(#first), call.channels.clone()]))
        });
        let kernel = gemm.kernel();
        let ident = kernel.ident();
        kernels.push(kernel);
        let Self { windows, weights, out, to, .. } = self;
        let windows = from_a.map_or_else(|| windows.clone(), |at| quote!(#windows.map(|a| a.at(#at))));
        let [at, first] = [call.at, call.first].map(lit);
        let weights = sum(&[quote!(#at), weights.clone().unwrap_or_default(), call.step.clone()]);
        let place = |to: &TokenStream| {
            sum(&[to.clone(), from_c.clone().unwrap_or_default(), quote!(#first), call.channels.clone()])
        };
        let at_d = from_d.map(|at| quote!(.at(#at)));
        let dots = fast.map(|fast| &fast.dots).map(|dots| quote!(#dots #at_d,));
        let residual = self.residual.as_ref().map(|(from, at, _)| {
            let at = place(at);
            quote!(, rt::src(#from, #at))
        });
        let to = place(to);
        quote!(#ident(#windows, #dots w.at(#weights), #next rt::dst(#out, #to) #residual);)
    }
}

/// Panels of one form, and the offsets of their weights in the packed block.
struct Form {
    panels: Panels,
    /// In the plain inner product.
    at: usize,
    /// In the fast one.
    fast: Option<usize>,
}

/// The arguments of a call that depend on the panel.
struct Call {
    panels: Panels,
    /// Offset of the weights of the form's first panel, and from them to those of the panel.
    at: usize,
    step: TokenStream,
    /// First channel of the form, and from it to that of the panel.
    first: usize,
    channels: TokenStream,
}

/// Returns `let fast = ...;`, which records whether a layer uses the fast inner product.
pub fn flag(name: &Ident, layer: &PackedLayer) -> TokenStream {
    let at = layer.fast.first().copied().map(lit);
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
