//! Code that fills the ring of a block: the expansion, the stem with its image rows, or a copy.

use proc_macro2::TokenStream;
use quote::quote;

use super::Block;
use super::phase::PhaseLoop;
use crate::codegen::kernel::Kernel;
use crate::codegen::quantized::kernel::{Ahead, CallPanels, Gather, Interleave, Produce, Widen};
use crate::codegen::tokens::{affine, lit, repeat, sum};
use crate::ir::{Op, Stage, Tensor, Tile, Widened, WidenedForm, Window};
use crate::schedule::phases::Phase;
use crate::schedule::quantized::QUAD;
use crate::schedule::taps::Taps;
use crate::target::IsaFacts;

impl Block<'_> {
    /// Reads the image rows for the stem's rows of a quad. The last row of the ring is padding, which replaces rows
    /// outside the image.
    pub fn read_rows(&self, phase: &Phase) -> TokenStream {
        let (Some((rows, _)), Some(window)) = (self.image(), self.ring.op.window()) else { return quote!() };
        if phase.work.rows == 0 {
            return quote!();
        }
        let Tensor { shape, layout, .. } = rows.tensor;
        let stride = layout.row_stride(shape);
        let slots = lit(layout.stored_rows(shape) - 1);
        let reach = (phase.work.rows - 1) * window.stride[0] + window.kernel[0];
        let end = self.row(phase, window.stride[0], reach);
        let [top, height] = [window.padding.top, shape.height].map(lit);
        let [bytes, left, stride] =
            [shape.width * shape.channels, layout.border.left * shape.channels, stride].map(lit);
        let read = self.observe(0);
        quote! {
            while read < usize::min(usize::saturating_sub(#end, #top), #height) {
                rt::quantized::image_bytes::<#bytes>(image, read, rows.at(read % #slots * #stride + #left));
                read += 1;
            }
            #read
        }
    }

    /// Returns the first image row that a thread reads: the first row that its first quad needs.
    pub fn first_image_row(&self) -> TokenStream {
        let Some(window) = self.ring.op.window() else { return quote!() };
        let stride = window.stride[0];
        let [quad, above] = [QUAD * stride, self.window.padding.top * stride + window.padding.top].map(lit);
        quote!(let mut read = usize::saturating_sub(again.start * #quad, #above);)
    }

    /// Returns the first of the producer's rows in a phase's quad, multiplied by `unit`, plus `more`.
    pub fn row(&self, phase: &Phase, unit: usize, more: usize) -> TokenStream {
        let first = phase.first * QUAD + phase.work.first - self.window.padding.top;
        phase.linear(QUAD * unit, first * unit + more)
    }

    /// Fills the group's part of a phase's row quad.
    pub fn produce(&self, phase: &Phase, kernels: &mut Vec<Kernel>) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let [column, vector] = layout.column_strides(shape, self.context.isa.lanes());
        let slot = self.slot(phase, false);
        if phase.work.rows == 0 {
            let (header, bytes) = (lit(self.packed.depthwise.header), lit(self.quad_bytes()));
            return quote!(rt::quantized::pad(w, #header, ring.at(#slot), 0..#bytes););
        }
        let left = lit(layout.border.left * column);
        let strip = self.strips().map(|(cols, count)| affine(0, &[("strip", cols * column, count)]));
        let to = sum(&[slot, quote!(#left), strip.unwrap_or_default()]);
        if let [Stage { op: Op::Repack, .. }] = self.producers {
            return self.copy(phase, &to, vector, kernels);
        }
        let (Some(layer), Some(Tile::Gemm(tile)), Some(window)) =
            (self.packed.producer, self.ring.tile, self.ring.op.window())
        else {
            return quote!();
        };
        let Some(panels) = layer.panels.first() else { return quote!() };
        let per_group = layout.group / (tile.nv * self.context.isa.lanes());
        let before = self.producers.len().checked_sub(2).map_or(self.input.tensor, |at| self.producers[at].tensor);
        // The first rows are the first to read the weights.
        let is_first = phase.first == 0 && window.is_point();
        let ahead = Ahead::of_panel(self.context.isa, if is_first { panels.stride } else { 0 });
        let kernel = |finish| Produce {
            isa: self.context.isa,
            taps: Taps::of_producer(&self.ring.op, before, shape.width).in_steps_of(layer.form.depth()),
            stride: window.stride[0],
            first: phase.work.first,
            rows: phase.work.rows,
            cols: self.widened().map_or(shape.width, |widened| widened.cols),
            a_pixel: match self.widened() {
                None => window.stride[1] * before.shape.channels,
                Some(widened) => match widened.of {
                    WidenedForm::Crossed => widened.pixel(),
                    WidenedForm::Pairs => widened.pixel() * QUAD,
                },
            },
            c_vector: vector,
            mr: tile.mr,
            nv: tile.nv,
            finish,
            form: layer.form,
            outliers: layer.outliers,
            ahead,
            panels: CallPanels { count: per_group, stride: panels.stride },
        };
        let inputs = kernel(self.packed.general).input_rows();
        let windows = match self.widened() {
            Some(widened) => {
                let rows = (0..inputs).map(|index| {
                    let at = self.widened_row(phase, widened, index);
                    quote!(rt::src(wide, #at))
                });
                quote!([#(#rows),*])
            }
            None => self.windows(phase, before, window, inputs),
        };
        let (weights, header) =
            (affine(panels.at, &[("group", per_group * panels.stride, self.groups())]), lit(layer.header));
        let mut all = Vec::new();
        let produce = self.either("produce", &mut |finish| {
            let kernel = kernel(finish).kernel();
            let ident = kernel.ident();
            all.push(kernel);
            quote!(#ident(#windows, w.at(#weights), w.at(#header), rt::dst(ring, #to));)
        });
        kernels.append(&mut all);
        let Some((_, count)) = self.strips() else { return produce };
        let gather = self.gather(phase, kernels);
        repeat("strip", count, quote!(#gather #produce))
    }

    /// Returns the columns of a strip and the number of strips, if the windows are gathered strip by strip.
    fn strips(&self) -> Option<(usize, usize)> {
        let (cols, width) = (self.widened()?.cols, self.ring.tensor.shape.width);
        (cols < width).then_some((cols, width / cols))
    }

    /// Returns `count` rows of the image's ring or of the block's input for a phase's row quad.
    fn windows(&self, phase: &Phase, before: Tensor, window: Window, count: usize) -> TokenStream {
        let Some((rows, _)) = self.image() else { return self.input_rows(phase, before, count) };
        let Tensor { shape, layout, .. } = rows.tensor;
        let (slots, stride) = (layout.stored_rows(shape) - 1, layout.row_stride(shape));
        let first = self.row(phase, window.stride[0], 0);
        let [count, top, height, outside, slots, stride] =
            [count, window.padding.top, shape.height, slots * stride, slots, stride].map(lit);
        quote!(rt::ring_rows::<#count, #top, #height, #slots, #stride, _>(
            rt::src(rows, 0), rt::src(rows, #outside), #first,
        ))
    }

    /// Returns `count` rows of the block's input for a phase's row quad.
    fn input_rows(&self, phase: &Phase, input: Tensor, count: usize) -> TokenStream {
        let row = input.layout.row_stride(input.shape);
        let rows = (0..count).map(|index| {
            let at = match input.layout.ring {
                None => self.row(phase, row, index * row),
                Some(slots) => {
                    let at = self.row(phase, 1, index + input.layout.border.top);
                    let [slots, row] = [slots, row].map(lit);
                    quote!((#at) % #slots * #row)
                }
            };
            quote!(rt::src(x, #at))
        });
        quote!([#(#rows),*])
    }

    /// Returns the widened rows that the producer reads, if its inner product reads 16-bit numbers.
    pub fn widened(&self) -> Option<Widened> {
        let Op::Fused(fused) = &self.node.op else { return None };
        fused.widened(self.ring, self.input.tensor)
    }

    /// Whether the windows of image rows are gathered before all channel groups.
    pub fn gathers_image(&self) -> bool {
        self.image().is_some() && self.widened().is_some()
    }

    /// Reads the image rows that are gathered for a phase's quad.
    pub fn gathered_rows(&self, phase: &Phase) -> TokenStream {
        if self.gathers_image() { self.read_rows(phase) } else { quote!() }
    }

    /// Returns the offset of a widened row of a phase's quad. Pairs of the quad's rows are together.
    fn widened_row(&self, phase: &Phase, widened: Widened, index: usize) -> TokenStream {
        let quad = QUAD * widened.row();
        match self.is_whole() {
            true if widened.of == WidenedForm::Pairs => phase.linear(quad, phase.first * quad),
            true => self.row(phase, widened.row(), index * widened.row()),
            false => {
                let at = lit(index * widened.row());
                quote!(#at)
            }
        }
    }

    /// Widens the input rows of a phase's quad, which all channel groups read. Strips are gathered by the producer.
    pub fn widen(&self, phase: &Phase, kernels: &mut Vec<Kernel>) -> TokenStream {
        if self.strips().is_some() { quote!() } else { self.gather(phase, kernels) }
    }

    /// Widens the input rows of a phase's quad, or a strip of them.
    fn gather(&self, phase: &Phase, kernels: &mut Vec<Kernel>) -> TokenStream {
        let Some(widened) = self.widened().filter(|_| phase.work.rows > 0) else { return quote!() };
        let Some(window) = self.ring.op.window() else { return quote!() };
        let before = self.image().map_or(self.input.tensor, |(rows, _)| rows.tensor);
        let (isa, rows) = (self.context.isa, phase.work.rows);
        let (kernel, inputs) = match widened.of {
            WidenedForm::Crossed => (Widen { isa, rows, to: widened }.kernel(), rows),
            WidenedForm::Pairs => {
                let Widened { run, runs, cols, .. } = widened;
                let (stride, a_pixel) = (window.stride[0], window.stride[1] * before.shape.channels);
                let gather = Gather { isa, runs, run, stride, rows, cols, a_pixel, quads: true };
                (gather.kernel(), gather.input_rows())
            }
        };
        let ident = kernel.ident();
        kernels.push(kernel);
        let (rows, to) = (self.windows(phase, before, window, inputs), self.widened_row(phase, widened, 0));
        let rows = match self.strips() {
            None => rows,
            Some((cols, count)) => {
                let at = affine(0, &[("strip", cols * window.stride[1] * before.shape.channels, count)]);
                quote!(#rows.map(|row| row.at(#at)))
            }
        };
        quote!(#ident(#rows, rt::dst(wide, #to));)
    }

    /// Copies rows of the block's input, if no convolution precedes the depthwise.
    fn copy(&self, phase: &Phase, to: &TokenStream, vector: usize, kernels: &mut Vec<Kernel>) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let groups = self.groups();
        let last = shape.channels - (groups - 1) * layout.group;
        let row = shape.width * shape.channels;
        let header = lit(self.packed.depthwise.header);
        let mut call = |channels: usize| {
            let kernel = Interleave {
                isa: self.context.isa,
                first: phase.work.first,
                rows: phase.work.rows,
                cols: shape.width,
                channels,
                a_pixel: shape.channels,
                c_vector: vector,
            }
            .kernel();
            let ident = kernel.ident();
            kernels.push(kernel);
            let rows = (0..phase.work.rows).map(|index| {
                let at = sum(&[self.row(phase, row, index * row), affine(0, &[("group", layout.group, groups)])]);
                quote!(rt::src(x, #at))
            });
            quote!(#ident([#(#rows),*], w.at(#header), rt::dst(ring, #to));)
        };
        if last == layout.group {
            return call(last);
        }
        let (some, all, last_group) = (call(last), call(layout.group), lit(groups - 1));
        if groups == 1 { some } else { quote!(if group == #last_group { #some } else { #all }) }
    }
}
