//! A streamed inverted residual block of bytes.
//!
//! For each row quad, for each channel group: the producer (expand, the stem, or a copy) fills the group's part of the
//! ring; the depthwise makes the output rows whose windows are complete. Then the projection makes these rows. Where the
//! whole image is small, groups come first, and the projection last, so that weights are read once.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::cost::{QUAD, widest};
use super::kernel::{Activations, Depthwise, Ending, Finish, Interleave, Produce, Product};
use super::phases::{Phase, Work, phases};
use super::plan::{PackedLayer, Plan};
use crate::codegen::isa::Isa;
use crate::codegen::kernel::{Kernel, lit, sum};
use crate::codegen::step::{Code, Context, parts_of, place};
use crate::ir::{Fused, Node, NodeId, Op, Order, Place, Stage, Tensor, Tile, Window};

/// The parts of a fused node.
struct Block<'g> {
    isa: Isa,
    graph: &'g crate::ir::Graph,
    input: &'g Node,
    node: &'g Node,
    rows: usize,
    /// What fills the ring; the image rows before the stem come first.
    producers: &'g [Stage],
    ring: &'g Stage,
    depthwise: &'g Stage,
    window: Window,
    project: &'g Stage,
    produce_layer: Option<&'g PackedLayer>,
    depthwise_layer: &'g PackedLayer,
    project_layer: &'g PackedLayer,
    lanes: usize,
    /// Whether weights have rests.
    rest: bool,
    step: usize,
    first_stage: usize,
}

/// The statements of the fused node `id`, whose stages count from `first_stage` in step `step`.
pub fn statements(context: &Context<'_>, plan: &Plan, id: NodeId, step: usize, first_stage: usize) -> Code {
    let graph = context.graph;
    let node = graph.node(id);
    let Op::Fused(Fused { stages, rows }) = &node.op else { return Code::default() };
    let [producers @ .., depthwise, project] = &**stages else { return Code::default() };
    let at = producers.len();
    let layer = |stage: usize| plan.layer((id, stage));
    let (Some(ring), Some(window), Some(depthwise_layer), Some(project_layer), Some(input)) =
        (producers.last(), depthwise.op.window(), layer(at), layer(at + 1), graph.inputs(id).first().copied())
    else {
        return Code::default();
    };
    let (isa, input, produce_layer) = (context.isa, graph.node(input), layer(at - 1));
    let lanes = isa.lanes();
    let block = Block {
        isa,
        graph,
        input,
        node,
        rows: *rows,
        producers,
        ring,
        depthwise,
        window,
        project,
        produce_layer,
        depthwise_layer,
        project_layer,
        lanes,
        rest: plan.has_rests(),
        step,
        first_stage,
    };
    block.code()
}

impl Block<'_> {
    fn code(&self) -> Code {
        let mut kernels = Vec::new();
        let parts = self.parts();
        let notes = self.producers.iter().chain([self.depthwise, self.project]).map(|stage| {
            let line = stage.origin.line;
            let text = match stage.origin.layer {
                Some(layer) => {
                    format!("layer {layer}, {}: {} (spec line {line})", stage.origin.name, stage.tensor.shape)
                }
                None => format!("{}: {}", stage.origin.name, stage.tensor.shape),
            };
            quote!(rt::note!(#text);)
        });
        let general = self.general();
        let pad = self.pad();
        let (height, output) = (self.ring.tensor.shape.height, self.depthwise.tensor.shape.height);
        let whole = self.is_whole();
        let phases = phases(self.window, height, output).into_iter().map(|phase| {
            let rows = self.image_rows(&phase);
            let (produce, depthwise) = (self.produce(&phase, &mut kernels), self.depthwise(&phase, &mut kernels));
            let [produced, filtered] = [0, 1].map(|stage| self.observe(self.producers.len() - 1 + stage));
            let made = quote!(#produce #produced #depthwise #filtered);
            let body = if whole {
                quote!(#rows #made)
            } else {
                let groups = lit(self.groups());
                let project = self.project(phase.work.made(), &self.done(&phase), &mut kernels);
                quote!(#rows for group in 0..#groups { #made } #project)
            };
            let (first, end) = (lit(phase.first), lit(phase.first + phase.count));
            match phase.count {
                1 => quote!({ let quad = #first; #body }),
                _ => quote!(for quad in #first..#end { #body }),
            }
        });
        let phases: Vec<_> = phases.collect();
        let read = (self.producers.len() > 1).then(|| quote!(let mut read = 0;));
        let work = if whole {
            let (groups, project) = (lit(self.groups()), self.project(output, &quote!(0), &mut kernels));
            quote!(for group in 0..#groups { #read #(#phases)* } #project)
        } else {
            quote!(#read #(#phases)*)
        };
        let statements = quote! {
            {
                #(#notes)*
                #parts
                #general
                #pad
                #work
            }
        };
        Code { statements, kernels }
    }

    fn parts(&self) -> TokenStream {
        let of = |stage: &Stage| stage.place.unwrap_or(Place::NONE);
        let mut names = vec!["out", "ring", "spatial"];
        let mut places = vec![place(self.node), of(self.ring), of(self.depthwise)];
        if let [rows, _, ..] = self.producers {
            names.push("rows");
            places.push(of(rows));
        }
        if !matches!(self.input.op, Op::Input) {
            names.push("x");
            places.push(place(self.input));
        }
        parts_of(&names, &places, 1)
    }

    /// Whether a layer takes its general kernels, where it has others.
    fn general(&self) -> TokenStream {
        if !self.isa.has_biased_sums() {
            return quote!();
        }
        let layers = [("produce", self.produce_layer), ("filter", Some(self.depthwise_layer))];
        let lets = layers.into_iter().filter_map(|(role, layer)| {
            let (name, header) = (general_name(role), lit(layer?.header));
            Some(quote!(let #name = rt::quantised::is_general(w, #header);))
        });
        quote!(#(#lets)*)
    }

    /// Fills the columns beside the image: the scratch holds what other steps left.
    fn pad(&self) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let [column, vector] = layout.column_strides(shape, self.lanes);
        let vectors = lit(layout.elements(shape) / vector);
        let (left, right) = (layout.border.left * column, layout.border.right * column);
        let header = lit(self.depthwise_layer.header);
        let sides =
            [(0, left), (vector - right, vector)].into_iter().filter(|(from, to)| from < to).map(|(from, to)| {
                let [from, to] = [from, to].map(lit);
                quote!(rt::quantised::pad(w, #header, ring.at(at), #from..#to);)
            });
        let vector = lit(vector);
        let ring = quote!(for vector in 0..#vectors { let at = vector * #vector; #(#sides)* });
        let rows = self.image().map(|(rows, layer)| {
            let bytes = lit(rows.tensor.elements());
            let header = lit(layer.header);
            quote!(rt::quantised::pad(w, #header, rows, 0..#bytes);)
        });
        quote!(#ring #rows)
    }

    /// The ring of image rows, and the layer that reads it.
    fn image(&self) -> Option<(&Stage, &PackedLayer)> {
        match self.producers {
            [rows, _] => Some((rows, self.produce_layer?)),
            _ => None,
        }
    }

    /// Reads the image rows that the stem's rows of a quad look at. The last row of the ring stands for those outside.
    fn image_rows(&self, phase: &Phase) -> TokenStream {
        let (Some((rows, _)), Some(window)) = (self.image(), self.ring.op.window()) else { return quote!() };
        if phase.work.rows == 0 {
            return quote!();
        }
        let Tensor { shape, layout, .. } = rows.tensor;
        let stride = layout.row_stride(shape);
        let slots = lit(layout.stored_rows(shape) - 1);
        let reach = lit((phase.work.rows - 1) * window.stride[0] + window.kernel[0]);
        let [sh, top, height] = [window.stride[0], window.padding.top, shape.height].map(lit);
        let [bytes, left, stride] =
            [shape.width * shape.channels, layout.border.left * shape.channels, stride].map(lit);
        let (y, read) = (self.first_row(phase.work), self.observe(0));
        quote! {
            while read < usize::min(usize::saturating_sub((#y) * #sh + #reach, #top), #height) {
                rt::quantised::image_bytes::<#bytes>(image, read, rows.at(read % #slots * #stride + #left));
                read += 1;
            }
            #read
        }
    }

    /// The first row of the producer that the quad holds.
    fn first_row(&self, work: Work) -> TokenStream {
        let (top, quad) = (self.window.padding.top, lit(QUAD));
        match work.first.checked_sub(top) {
            Some(0) => quote!(quad * #quad),
            Some(more) => {
                let more = lit(more);
                quote!(quad * #quad + #more)
            }
            None => {
                let less = lit(top - work.first);
                quote!(quad * #quad - #less)
            }
        }
    }

    /// Where the group's part of a slot begins; `slot` is an expression of `quad`.
    fn slot(&self, slot: TokenStream) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let bytes = lit(layout.group_stride(shape) / 2);
        sum(&[self.group_offset(), quote!(#slot * #bytes)])
    }

    fn group_offset(&self) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        if layout.held_groups(shape) == 1 {
            return quote!(0);
        }
        let stride = lit(layout.group_stride(shape));
        quote!(group * #stride)
    }

    /// Fills the group's part of row quad `quad`.
    fn produce(&self, phase: &Phase, kernels: &mut Vec<Kernel>) -> TokenStream {
        let Work { first, rows, .. } = phase.work;
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let [column, vector] = layout.column_strides(shape, self.lanes);
        let slot = self.slot(quote!(quad % 2));
        if rows == 0 {
            let (header, bytes) = (lit(self.depthwise_layer.header), lit(layout.group_stride(shape) / 2));
            return quote!(rt::quantised::pad(w, #header, ring.at(#slot), 0..#bytes););
        }
        let left = lit(layout.border.left * column);
        let to = sum(&[slot, quote!(#left)]);
        let y = self.first_row(phase.work);
        if let [Stage { op: Op::Repack, .. }] = self.producers {
            return self.copy(phase, &y, &to, vector, kernels);
        }
        let (Some(layer), Some(Tile::Gemm(tile)), Some(window)) =
            (self.produce_layer, self.ring.tile, self.ring.op.window())
        else {
            return quote!();
        };
        let Some(panels) = layer.panels.first() else { return quote!() };
        let before = self.producers.len().checked_sub(2).map_or(self.input.tensor, |at| self.producers[at].tensor);
        let [runs, kw] = window.kernel;
        let kernel = |finish| Produce {
            isa: self.isa,
            runs,
            quads: (kw * before.shape.channels).div_ceil(QUAD),
            stride: window.stride[0],
            first,
            rows,
            cols: shape.width,
            a_pixel: window.stride[1] * before.shape.channels,
            c_vector: vector,
            mr: tile.mr,
            nv: tile.nv,
            finish,
            rest: self.rest,
        };
        let inputs = kernel(Finish::General).input_rows();
        let windows = match self.image() {
            Some((rows, _)) => {
                let Tensor { shape, layout, .. } = rows.tensor;
                let slots = layout.stored_rows(shape) - 1;
                let (sh, stride) = (lit(window.stride[0]), layout.row_stride(shape));
                let [inputs, top, height, outside, slots, stride] =
                    [inputs, window.padding.top, shape.height, slots * stride, slots, stride].map(lit);
                quote!(rt::ring_rows::<#inputs, #top, #height, #slots, #stride, _>(
                    rt::src(rows, 0), rt::src(rows, #outside), (#y) * #sh,
                ))
            }
            None => {
                let row = lit(before.layout.row_stride(before.shape));
                let rows = (0..inputs).map(|index| {
                    let index = lit(index);
                    quote!(rt::src(x, (#y + #index) * #row))
                });
                quote!([#(#rows),*])
            }
        };
        let [at, stride, header] = [panels.at, panels.stride, layer.header].map(lit);
        self.either("produce", &mut |finish| {
            let kernel = kernel(finish).kernel();
            let ident = kernel.ident();
            kernels.push(kernel);
            quote!(#ident(#windows, w.at(#at + group * #stride), w.at(#header), rt::dst(ring, #to));)
        })
    }

    /// Copies rows of the block's input, where no convolution precedes the depthwise.
    fn copy(
        &self,
        phase: &Phase,
        y: &TokenStream,
        to: &TokenStream,
        vector: usize,
        kernels: &mut Vec<Kernel>,
    ) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let groups = self.groups();
        let last = shape.channels - (groups - 1) * layout.group;
        let row = lit(shape.width * shape.channels);
        let header = lit(self.depthwise_layer.header);
        let mut call = |channels: usize| {
            let kernel = Interleave {
                isa: self.isa,
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
            let group = lit(layout.group);
            let rows = (0..phase.work.rows).map(|index| {
                let index = lit(index);
                quote!(rt::src(x, (#y + #index) * #row + group * #group))
            });
            quote!(#ident([#(#rows),*], w.at(#header), rt::dst(ring, #to));)
        };
        if last == layout.group {
            return call(last);
        }
        let (some, all, last_group) = (call(last), call(layout.group), lit(groups - 1));
        if groups == 1 { some } else { quote!(if group == #last_group { #some } else { #all }) }
    }

    /// Makes the rows whose windows row quad `quad` completes.
    fn depthwise(&self, phase: &Phase, kernels: &mut Vec<Kernel>) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        let out = self.depthwise.tensor;
        let [_, vector] = layout.column_strides(shape, self.lanes);
        let vectors = layout.group / self.lanes;
        let plane = matches!(out.layout.order, Order::ChannelQuads).then(|| out.layout.plane(out.shape));
        let c_vector = self.spatial_vector();
        let packed = Depthwise::packed(self.isa, self.rest);
        let [at, stride, header] = [self.depthwise_layer.at, vectors * packed, self.depthwise_layer.header].map(lit);
        let group = lit(vectors * c_vector);
        let row = lit(out.shape.width * if plane.is_some() { QUAD } else { self.lanes });
        let (here, above) = (self.slot(quote!(quad % 2)), self.slot(quote!((quad + 1) % 2)));
        let Work { between, within, .. } = phase.work;
        let base = if self.is_whole() { self.done(phase) } else { quote!(0) };
        let calls = [(true, between, 0), (false, within, between)].into_iter().filter(|(_, rows, _)| *rows > 0);
        let calls = calls.map(|(is_between, rows, skip)| {
            let skip = lit(skip);
            let first = sum(&[base.clone(), quote!(#skip)]);
            let above = is_between.then(|| quote!(rt::src(ring, #above),));
            self.either("filter", &mut |finish| {
                let kernel = Depthwise {
                    isa: self.isa,
                    stride: self.window.stride[1],
                    between: is_between,
                    rows,
                    cols: out.shape.width,
                    vectors,
                    a_vector: vector,
                    c_vector,
                    c_plane: plane,
                    finish,
                    rest: self.rest,
                }
                .kernel();
                let ident = kernel.ident();
                kernels.push(kernel);
                quote! {
                    #ident(
                        #above rt::src(ring, #here), w.at(#at + group * #stride), w.at(#header),
                        rt::dst(spatial, group * #group + (#first) * #row),
                    );
                }
            })
        });
        quote!(#(#calls)*)
    }

    /// Bytes from a vector of the depthwise's channels to the next.
    fn spatial_vector(&self) -> usize {
        let Tensor { shape, layout, .. } = self.depthwise.tensor;
        layout.group_stride(shape) / (layout.group / self.lanes)
    }

    /// The calls of one kind of kernels or the other, as the layer needs.
    fn either(&self, role: &str, calls: &mut dyn FnMut(Finish) -> TokenStream) -> TokenStream {
        let general = calls(Finish::General);
        if !self.isa.has_biased_sums() {
            return general;
        }
        let (name, biased) = (general_name(role), calls(Finish::Biased));
        quote!(if #name { #general } else { #biased })
    }

    /// Makes `rows` rows of the result from row `first`.
    fn project(&self, rows: usize, first: &TokenStream, kernels: &mut Vec<Kernel>) -> TokenStream {
        let (input, output) = (self.depthwise.tensor, self.project.tensor);
        let (Some(Tile::Gemm(tile)), true) = (self.project.tile, rows > 0) else { return quote!() };
        let a = match input.layout.order {
            Order::PixelQuads { lanes } => {
                Activations::PixelQuads { vector: self.spatial_vector(), quads: lanes / QUAD }
            }
            _ => Activations::Apart { pixel: QUAD, quad: input.layout.plane(input.shape) },
        };
        let residual = self.project.op.epilogue().residual;
        let row = lit(output.layout.row_stride(output.shape));
        let header = lit(self.project_layer.header);
        let calls = self.project_layer.panels.iter().map(|panels| {
            let base = Product {
                isa: self.isa,
                runs: 1,
                k: input.layout.group / QUAD,
                pixels: rows * output.shape.width,
                a,
                c_pixel: output.shape.channels,
                mr: tile.mr,
                half: panels.half,
                nv: panels.vectors,
                last: 0,
                finish: Finish::General,
                ending: if residual { Ending::Add } else { Ending::Store },
                rest: self.rest,
            };
            product_calls(&base, panels, kernels, &|kernel: &Ident, weights, channel| {
                let to = quote!((#first) * #row + #channel);
                let residual = residual.then(|| quote!(, rt::src(x, #to)));
                quote!(#kernel([rt::src(spatial, 0)], w.at(#weights), w.at(#header), rt::dst(out, #to) #residual);)
            })
        });
        let projected = self.observe(self.producers.len() + 1);
        quote!(#(#calls)* #projected)
    }

    /// Output rows that are complete before row quad `quad` of a phase.
    fn done(&self, phase: &Phase) -> TokenStream {
        let (made, done) = (phase.work.made(), phase.done);
        let done_lit = lit(done);
        if phase.count == 1 {
            return quote!(#done_lit);
        }
        // Of the phases, only one with a quad of its own can begin with the first.
        let (made_lit, before) = (lit(made), made * phase.first);
        match (done.checked_sub(before), before.saturating_sub(done)) {
            (Some(0), _) => quote!(quad * #made_lit),
            (Some(more), _) => {
                let more = lit(more);
                quote!(quad * #made_lit + #more)
            }
            (None, less) => {
                let less = lit(less);
                quote!(quad * #made_lit - #less)
            }
        }
    }

    /// Whether the projection waits for the whole image.
    fn is_whole(&self) -> bool {
        matches!(self.ring.tensor.layout.order, Order::RowQuads { groups: 1, .. })
            && self.rows == self.node.tensor.shape.height
    }

    fn groups(&self) -> usize {
        self.ring.tensor.layout.groups(self.ring.tensor.shape)
    }

    /// Tells the observer that `stage` of the block did a part of its work.
    fn observe(&self, stage: usize) -> TokenStream {
        let _ = self.graph;
        let (step, stage) = (lit(self.step), lit(self.first_stage + stage));
        quote!(observer.stage(#step, #stage);)
    }
}

/// Calls over panels of one form; the last of them may have fewer channels. `call` gets the kernel, the place of its
/// weights and its first channel.
pub fn product_calls(
    base: &Product,
    panels: &super::plan::Panels,
    kernels: &mut Vec<Kernel>,
    call: &dyn Fn(&Ident, TokenStream, TokenStream) -> TokenStream,
) -> TokenStream {
    let lanes = base.lanes();
    let width = panels.vectors * lanes;
    // A form of few vectors can have more pixels.
    let unit = base.a.unit();
    let mr = base.mr.max(widest(base.isa, panels.vectors) / unit * unit).min(base.pixels);
    let mut one = |last: usize, weights: TokenStream, channel: TokenStream| {
        let kernel = Product { last, mr, ..*base }.kernel();
        let tokens = call(&kernel.ident(), weights, channel);
        kernels.push(kernel);
        tokens
    };
    let split = panels.last < lanes;
    let whole = panels.count - usize::from(split);
    let [at, stride, first, width_lit, whole_lit] = [panels.at, panels.stride, panels.first, width, whole].map(lit);
    let main = match whole {
        0 => quote!(),
        1 => one(lanes, quote!(#at), quote!(#first)),
        _ => {
            let call = one(lanes, quote!(#at + panel * #stride), quote!(#first + panel * #width_lit));
            quote!(for panel in 0..#whole_lit { #call })
        }
    };
    let tail = split.then(|| {
        let [at, channel] = [panels.at + whole * panels.stride, panels.first + whole * width].map(lit);
        one(panels.last, quote!(#at), quote!(#channel))
    });
    quote!(#main #tail)
}

/// Whether the layer of a role takes its general kernels.
fn general_name(role: &str) -> Ident {
    format_ident!("{role}_general")
}
