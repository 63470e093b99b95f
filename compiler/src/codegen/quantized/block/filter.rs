//! Code that reads the ring of a block: the depthwise convolution, and the projection of its output.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::Block;
use super::phase::PhaseLoop;
use crate::codegen::kernel::Kernel;
use crate::codegen::quantized::kernel::{Activations, Ahead, CallPanels, Depthwise, Product, Windows, Writeback};
use crate::codegen::quantized::pack::Panels;
use crate::codegen::step::Team;
use crate::codegen::tokens::{affine, lit, repeat, sum};
use crate::ir::{Order, Tensor, Tile};
use crate::schedule::phases::{Phase, Work};
use crate::schedule::quantized::{QUAD, panel_pixels};
use crate::target::{DotForm, IsaFacts};

impl Block<'_> {
    /// Computes the rows whose windows a phase's row quad completes.
    pub fn depthwise(&self, phase: &Phase, kernels: &mut Vec<Kernel>) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let out = self.depthwise.tensor;
        let [_, vector] = layout.column_strides(shape, self.context.isa.lanes());
        let vectors = layout.group / self.context.isa.lanes();
        let plane = matches!(out.layout.order, Order::ChannelQuads).then(|| out.layout.plane(out.shape));
        let c_vector = self.spatial_vector();
        let groups = self.groups();
        let outliers = self.packed.depthwise.outliers;
        let packed = vectors * Depthwise::packed(self.context.isa, self.packed.general, outliers);
        let weights = affine(self.packed.depthwise.at, &[("group", packed, groups)]);
        let header = lit(self.packed.depthwise.header);
        let pairs = matches!(out.layout.order, Order::ChannelPairs);
        let row = out.shape.width * if plane.is_some() || pairs { QUAD } else { self.context.isa.lanes() };
        let (here, above) = (self.slot(phase, false), self.slot(phase, true));
        let Work { between, within, .. } = phase.work;
        let calls = [(true, between, 0), (false, within, between)].into_iter().filter(|(_, rows, _)| *rows > 0);
        let calls = calls.map(|(is_between, rows, skip)| {
            // Rows are relative to the image, or to the rows that are projected together.
            let first = match self.is_whole() {
                true => phase.linear(phase.work.completed() * row, (phase.done + skip) * row),
                false => {
                    let skip = lit(skip * row);
                    quote!(#skip)
                }
            };
            let to = sum(&[affine(0, &[("group", vectors * c_vector, groups)]), first]);
            let above = is_between.then(|| quote!(rt::src(ring, #above),));
            self.either("filter", &mut |finish| {
                let (isa, stride, cols) = (self.context.isa, self.window.stride[1], out.shape.width);
                let (between, a_vector) = (is_between, vector);
                let kernel = match pairs {
                    true => Windows { isa, stride, between, rows, cols, vectors, a_vector, c_vector, finish }.kernel(),
                    false => Depthwise {
                        isa,
                        stride,
                        between,
                        rows,
                        cols,
                        vectors,
                        a_vector,
                        c_vector,
                        c_plane: plane,
                        finish,
                        outliers,
                    }
                    .kernel(),
                };
                let ident = kernel.ident();
                kernels.push(kernel);
                quote!(#ident(#above rt::src(ring, #here), w.at(#weights), w.at(#header), rt::dst(spatial, #to));)
            })
        });
        quote!(#(#calls)*)
    }

    /// Computes `rows` rows of the result, `at_once` or fewer per call; `at_once` divides `rows` if it is smaller.
    /// `is_first` is true for the first rows of the result. `first(n)` returns the first row times `n`.
    pub fn project(
        &self,
        rows: usize,
        at_once: usize,
        is_first: bool,
        first: &dyn Fn(usize) -> TokenStream,
        kernels: &mut Vec<Kernel>,
    ) -> TokenStream {
        let (input, output) = (self.depthwise.tensor, self.project.tensor);
        let (Some(Tile::Gemm(tile)), true) = (self.project.tile, rows > 0) else { return quote!() };
        let a = match input.layout.order {
            Order::PixelQuads { lanes } => {
                Activations::PixelQuads { vector: self.spatial_vector(), quads: lanes / QUAD }
            }
            _ => Activations::Strided { pixel: QUAD, quad: input.layout.plane(input.shape) },
        };
        let residual = self.project.op.epilogue().residual;
        let (parts, rows) = (rows.div_ceil(at_once), rows.min(at_once));
        let row = output.layout.row_stride(output.shape);
        let first = sum(&[first(row), affine(0, &[("part", rows * row, parts)])]);
        let from = affine(0, &[("part", rows * output.shape.width * a.pixel(), parts)]);
        let header = lit(self.packed.project.header);
        let team = if self.is_whole() { self.context.team } else { Team::ONE };
        let calls = self.packed.project.panels.iter().map(|panels| {
            let base = Product {
                isa: self.context.isa,
                runs: 1,
                k: input.layout.group / self.packed.project.form.depth(),
                pixels: rows * output.shape.width,
                a,
                c_pixel: output.shape.channels,
                mr: tile.mr,
                half: panels.half,
                nv: panels.vectors,
                last: 0,
                finish: self.packed.general,
                writeback: if residual { Writeback::Add } else { Writeback::Store },
                form: self.packed.project.form,
                outliers: self.packed.project.outliers,
                ahead: Ahead::of_panel(self.context.isa, if is_first { panels.stride } else { 0 }),
                panels: CallPanels::ONE,
            };
            product_calls(&base, panels, team, kernels, &|kernel: &Ident, weights, channel| {
                let to = sum(&[first.clone(), channel]);
                let residual = residual.then(|| quote!(, rt::src(x, #to)));
                quote!(#kernel([rt::src(spatial, #from)], w.at(#weights), w.at(#header), rt::dst(out, #to) #residual);)
            })
        });
        let [_, _, projected] = self.observers();
        let parts = repeat("part", parts, quote!(#(#calls)*));
        quote!(#parts #projected)
    }
}

/// Returns the calls for panels of one form. The last panel may have fewer channels. `call` takes the kernel, the
/// offset of its weights and its first channel. `team` shares the panels.
pub fn product_calls(
    base: &Product,
    panels: &Panels,
    team: Team,
    kernels: &mut Vec<Kernel>,
    call: &dyn Fn(&Ident, TokenStream, TokenStream) -> TokenStream,
) -> TokenStream {
    let lanes = base.lanes();
    let width = panels.vectors * lanes;
    let mr = panel_pixels((base.isa, base.form), base.mr, panels.vectors, [base.pixels, base.a.unit()]);
    let mut one = |base: &Product, last: usize, weights: TokenStream, channel: TokenStream| {
        let kernel = Product { last, mr, ..*base }.kernel();
        let tokens = call(&kernel.ident(), weights, channel);
        kernels.push(kernel);
        tokens
    };
    let split = panels.last < lanes;
    let whole = panels.count - usize::from(split);
    let place = |first: usize, step: usize| affine(first, &[("panel", step, whole)]);
    let shared = |count: usize, call: TokenStream| match team.are_many() {
        false => repeat("panel", count, call),
        true => {
            let share = team.share(count);
            quote!(for panel in #share { #call })
        }
    };
    let main = (whole > 0).then(|| {
        // Threads share panels, and most sets of registers hold a panel that is worth a call.
        if base.form == DotForm::Pairs && !team.are_many() {
            let all = Product { panels: CallPanels { count: whole, stride: panels.stride }, ..*base };
            let [at, channel] = [panels.at, panels.first].map(lit);
            return one(&all, lanes, quote!(#at), quote!(#channel));
        }
        let call = one(base, lanes, place(panels.at, panels.stride), place(panels.first, width));
        shared(whole, call)
    });
    let tail = split.then(|| {
        let [at, channel] = [panels.at + whole * panels.stride, panels.first + whole * width].map(lit);
        shared(1, one(base, panels.last, quote!(#at), quote!(#channel)))
    });
    quote!(#main #tail)
}
