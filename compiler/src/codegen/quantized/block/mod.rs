//! A streamed inverted residual block of quantized values.
//!
//! For each row quad, for each channel group: the producer (expand, the stem, or a copy) fills the group's part of the
//! ring. The depthwise convolution computes the output rows whose windows are complete. Then the projection computes
//! these rows. If the whole image is small, the loop over groups is outermost and the projection runs last, so that
//! weights are read once.
//!
//! A block that is chained to the next one is a closure instead of a loop. It computes rows on demand.

mod filter;
mod phase;
mod produce;
mod unfused;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

pub use filter::product_calls;
pub use unfused::statements as unfused;

use super::kernel::Finish;
use super::pack::{PackedLayer, Plan};
use crate::codegen::kernel::Kernel;
use crate::codegen::step::LayerKey;
use crate::codegen::step::{Code, Context, Stream, Team, parts_of};
use crate::codegen::tokens::{affine, lit, repeat, sum};
use crate::ir::{Layout, NodeId, Stage, Tensor};
use crate::schedule::phases::{Phase, phases};
use crate::schedule::quantized::QUAD;
use crate::target::IsaFacts;
use phase::PhaseLoop;

/// Streamed block of quantized values.
type Block<'g> = Stream<'g, Packed<'g>>;

/// Data of a streamed block that is specific to quantized values.
struct Packed<'g> {
    /// Packed weights of the last producer, the depthwise and the projection.
    producer: Option<&'g PackedLayer>,
    depthwise: &'g PackedLayer,
    project: &'g PackedLayer,
    /// Requantization of any layer, and of layers whose values allow the fast one.
    general: Finish,
    fast: Finish,
}

impl<'g> Packed<'g> {
    /// Returns the data of the layers with these keys.
    fn new(plan: &'g Plan, [producer, depthwise, project]: [LayerKey; 3]) -> Option<Self> {
        Some(Self {
            producer: plan.layer(producer),
            depthwise: plan.layer(depthwise)?,
            project: plan.layer(project)?,
            general: plan.general(),
            fast: plan.fast(),
        })
    }
}

/// Returns the statements of the fused node `id`. Its stages are numbered from `first_stage` in step `step`.
pub fn statements(context: &Context<'_>, plan: &Plan, id: NodeId, step: usize, first_stage: usize) -> Code {
    let Some(stream) = Stream::new(context, id, step, first_stage) else { return Code::default() };
    let at = stream.producers.len();
    let Some(packed) = Packed::new(plan, [at - 1, at, at + 1].map(|stage| (id, stage))) else { return Code::default() };
    stream.with(packed).code()
}

impl Block<'_> {
    fn code(&self) -> Code {
        let mut kernels = Vec::new();
        let parts = self.parts();
        let notes = self.notes();
        let general = self.general();
        let pad = self.pad();
        let (height, output) = (self.ring.tensor.shape.height, self.depthwise.tensor.shape.height);
        let whole = self.is_whole();
        let phases = phases(self.window, height, output);
        let quads: usize = phases.iter().map(|phase| phase.count).sum();
        let (begin, quads) = if whole { (quote!(), Team::ONE) } else { self.begin(&phases, quads, &mut kernels) };
        let first_completed = phases.iter().find(|phase| phase.work.completed() > 0).map(|phase| phase.first);
        let at_once = self.rows_at_once(&phases);
        let bodies: Vec<_> = phases
            .iter()
            .map(|phase| {
                let rows = self.read_rows(phase);
                let advance = self.advance(phase);
                let (produce, depthwise) = (self.produce(phase, &mut kernels), self.depthwise(phase, &mut kernels));
                let [produced, filtered, _] = self.observers();
                let work = quote!(#produce #produced #depthwise #filtered);
                if whole {
                    let rows = (!self.gathers_image()).then_some(rows);
                    return quote!(#rows #work);
                }
                let widen = self.widen(phase, &mut kernels);
                let groups = self.each_group(work);
                let done = |unit| self.first_row(phase, unit);
                let is_first = first_completed == Some(phase.first);
                let project = self.project(phase.work.completed(), at_once, is_first, &done, &mut kernels);
                quote!(#advance #rows #widen #groups #project)
            })
            .collect();
        if self.node.tensor.layout.ring.is_some() {
            let rows = self.closure(&phases, &bodies);
            return Code { statements: quote!(#notes #parts #general #pad #begin #rows), kernels };
        }
        let loops: Vec<_> = phases.iter().zip(bodies).map(|(phase, body)| phase.repeat(quads, body)).collect();
        let work = if whole {
            let read = (self.producers.len() > 1 && !self.gathers_image()).then(|| quote!(let mut read = 0;));
            let groups = quote!(#read #(#loops)*);
            let groups = match self.context.team.are_many() {
                false => self.each_group(groups),
                true => {
                    let (share, wait) = (self.context.team.share(self.groups()), self.context.team.wait());
                    quote!(for group in #share { #groups } #wait)
                }
            };
            let widen = self.widened().map(|_| {
                let all = phases.iter().map(|phase| {
                    let (rows, widen) = (self.gathered_rows(phase), self.widen(phase, &mut kernels));
                    phase.repeat(Team::ONE, quote!(#rows #widen))
                });
                let all: Vec<_> = all.collect();
                let read = self.gathers_image().then(|| quote!(let mut read = 0;));
                quote!(#read #(#all)*)
            });
            let project = self.project(output, output, true, &|_| quote!(0), &mut kernels);
            quote!(#widen #groups #project)
        } else {
            quote!(#begin #(#loops)*)
        };
        let statements = quote! {
            {
                #notes
                #parts
                #general
                #pad
                #work
            }
        };
        Code { statements, kernels }
    }

    /// Returns a closure that computes rows until the requested number is complete.
    fn closure(&self, phases: &[Phase], bodies: &[TokenStream]) -> TokenStream {
        let arms = phases.iter().zip(bodies).enumerate().map(|(at, (phase, body))| {
            let [first, end, rows] = [phase.first, phase.first + phase.count, phase.work.completed()].map(lit);
            let quads = if at + 1 == phases.len() { quote!(_) } else { quote!(#first..#end) };
            quote!(#quads => { #body done += #rows; })
        });
        quote! {
            let (mut quad, mut done) = (0, 0);
            let mut advance = |needed: usize, observer: &mut O| {
                while done < needed {
                    match quad { #(#arms)* }
                    quad += 1;
                }
            };
        }
    }

    /// If the preceding block is chained to this one, lets it compute the rows of a phase's row quad.
    fn advance(&self, phase: &Phase) -> TokenStream {
        if self.input.tensor.layout.ring.is_none() || phase.work.rows == 0 {
            return quote!();
        }
        let rows = self.row(phase, 1, phase.work.rows);
        quote!(advance(#rows, observer);)
    }

    /// Returns the rows that a call of the projection computes. Targets with little code memory share one kernel
    /// between all phases; some phases call it more than once.
    fn rows_at_once(&self, phases: &[Phase]) -> usize {
        /// Fewer pixels are not worth a call.
        const PIXELS: usize = 8;
        let least = phases.iter().map(|phase| phase.work.completed()).filter(|rows| *rows > 0).min().unwrap_or(1);
        let divides = phases.iter().all(|phase| phase.work.completed().is_multiple_of(least));
        let pays = self.context.isa.multiplies_pairs() && least * self.depthwise.tensor.shape.width >= PIXELS;
        if divides && pays { least } else { usize::MAX }
    }

    /// Repeats the work of a channel group. The loop is not unrolled for groups of a few channels: unrolling gains
    /// nothing there and makes the code larger.
    fn each_group(&self, work: TokenStream) -> TokenStream {
        let count = self.groups();
        if count == 1 || !self.context.isa.multiplies_pairs() {
            return repeat("group", count, work);
        }
        let count = lit(count);
        quote!(for group in 0..rt::unseen(#count) { #work })
    }

    /// Returns the first row that a phase's row quad completes, multiplied by `unit`.
    fn first_row(&self, phase: &Phase, unit: usize) -> TokenStream {
        let Layout { ring, border, .. } = self.node.tensor.layout;
        let Some(slots) = ring else { return phase.linear(phase.work.completed() * unit, phase.done * unit) };
        let (row, slots, unit) = (phase.linear(phase.work.completed(), phase.done + border.top), lit(slots), lit(unit));
        quote!((#row) % #slots * #unit)
    }

    /// Returns the start of a thread at its share of `count` row quads, and the team that shares the quads of a phase.
    /// The quad before the share is recomputed, since the first windows begin there.
    fn begin(&self, phases: &[Phase], count: usize, kernels: &mut Vec<Kernel>) -> (TokenStream, Team) {
        let reads_image = self.producers.len() > 1;
        if !self.context.team.are_many() {
            let read = reads_image.then(|| quote!(let mut read = 0;));
            return (quote!(#read), Team::ONE);
        }
        let share = self.context.team.share(count);
        let read = reads_image.then(|| self.first_image_row());
        let again = phases.iter().map(|phase| {
            let (rows, widen) = (self.read_rows(phase), self.widen(phase, kernels));
            let groups = repeat("group", self.groups(), self.produce(phase, kernels));
            phase.repeat_of("again", quote!(#rows #widen #groups))
        });
        let begin = quote! {
            let mine = #share;
            let again = usize::saturating_sub(mine.start, 1)..mine.start;
            #read
            #(#again)*
        };
        (begin, self.context.team)
    }

    fn parts(&self) -> TokenStream {
        let memory = self.memory().into_iter().map(|(name, place, _)| (name, place));
        let wide = self.ring.workspace.map(|place| ("wide", place));
        let (names, places): (Vec<_>, Vec<_>) = memory.chain(wide).unzip();
        parts_of(&names, &places, 1)
    }

    /// Returns the flags of layers that must use the general kernels. Instruction sets with only general kernels have
    /// none.
    fn general(&self) -> TokenStream {
        if !self.context.isa.has_biased_sums() {
            return quote!();
        }
        let layers = [("produce", self.packed.producer), ("filter", Some(self.packed.depthwise))];
        let lets = layers.into_iter().filter_map(|(role, layer)| {
            let (name, header) = (general_name(role), lit(layer?.header));
            Some(quote!(let #name = rt::quantized::is_general(w, #header);))
        });
        quote!(#(#lets)*)
    }

    /// Fills the columns left and right of the image in the whole ring. The scratch holds values of earlier steps.
    fn pad(&self) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let [_, vector] = layout.column_strides(shape, self.context.isa.lanes());
        let ring = self.pad_sides(layout.elements(shape) / vector, &quote!());
        let rows = self.image().map(|(rows, layer)| {
            let bytes = lit(rows.tensor.elements());
            let header = lit(layer.header);
            quote!(rt::quantized::pad(w, #header, rows, 0..#bytes);)
        });
        quote!(#ring #rows)
    }

    /// Fills the columns left and right of the image in the group's part of a phase's row quad. `produce` fills rows
    /// outside the image.
    fn pad_quad(&self, phase: &Phase) -> TokenStream {
        if phase.work.rows == 0 {
            return quote!();
        }
        self.pad_sides(self.ring.tensor.layout.group / self.context.isa.lanes(), &self.slot(phase, false))
    }

    /// Fills the columns left and right of the image in `vectors` consecutive rows of vectors from `first`.
    fn pad_sides(&self, vectors: usize, first: &TokenStream) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let [column, vector] = layout.column_strides(shape, self.context.isa.lanes());
        let (left, right) = (layout.border.left * column, layout.border.right * column);
        let header = lit(self.packed.depthwise.header);
        let sides = [(0, left), (vector - right, vector)].into_iter().filter(|(from, to)| from < to);
        let sides = sides.map(|(from, to)| {
            let at = sum(&[first.clone(), affine(from, &[("vector", vector, vectors)])]);
            let bytes = lit(to - from);
            quote!(rt::quantized::pad(w, #header, ring.at(#at), 0..#bytes);)
        });
        repeat("vector", vectors, quote!(#(#sides)*))
    }

    /// Returns the ring of image rows, and the layer that reads it.
    fn image(&self) -> Option<(&Stage, &PackedLayer)> {
        self.image_rows().zip(self.packed.producer)
    }

    /// Returns the start of the group's part of the slot of a phase's quad, or of the quad above it.
    fn slot(&self, phase: &Phase, above: bool) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let (bytes, odd) = (self.quad_bytes(), usize::from(above));
        let slot = if layout.ring.is_none() {
            phase.linear(bytes, phase.first.saturating_sub(odd) * bytes)
        } else if phase.count == 1 {
            let at = lit((phase.first + odd) % 2 * bytes);
            quote!(#at)
        } else {
            let (bytes, quad) = (lit(bytes), if above { quote!((quad + 1)) } else { quote!(quad) });
            quote!(#quad % 2 * #bytes)
        };
        let held = layout.held_groups(shape);
        sum(&[affine(0, &[("group", layout.group_stride(shape), held)]), slot])
    }

    /// Returns the bytes of a group's part of a row quad.
    fn quad_bytes(&self) -> usize {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        layout.row_stride(shape) * QUAD
    }

    /// Returns the bytes from one vector of the depthwise channels to the next.
    fn spatial_vector(&self) -> usize {
        let Tensor { shape, layout, .. } = self.depthwise.tensor;
        layout.group_stride(shape) / (layout.group / self.context.isa.lanes())
    }

    /// Returns the calls of the general or the fast kernels, selected by the layer's flag.
    fn either(&self, role: &str, calls: &mut dyn FnMut(Finish) -> TokenStream) -> TokenStream {
        let general = calls(self.packed.general);
        if !self.context.isa.has_biased_sums() {
            return general;
        }
        let (name, biased) = (general_name(role), calls(self.packed.fast));
        quote!(if #name { #general } else { #biased })
    }
}

/// Returns the name of the flag that selects a layer's general kernels.
fn general_name(role: &str) -> Ident {
    format_ident!("{role}_general")
}
