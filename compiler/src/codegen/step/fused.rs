//! A streamed inverted residual block.
//!
//! For each tile of output rows, for each channel group: the producer (expand, the stem, or a copy) fills
//! the group's ring with the input rows that are new; the depthwise reads the ring and writes its rows of
//! the tile. Then the projection makes the tile's output. Nothing is computed twice.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Code, Context, parts, place};
use crate::codegen::conv::Conv;
use crate::codegen::kernel::{Depthwise, Kernel, lit};
use crate::codegen::pack::PackedLayer;
use crate::ir::{DepthwiseConv2d, Fused, Node, NodeId, Op, Place, Stage, Tensor, Tile, Window};

/// The parts of a fused node.
struct Block<'g> {
    context: &'g Context<'g>,
    input: &'g Node,
    node: &'g Node,
    rows: usize,
    /// What fills the ring.
    producers: &'g [Stage],
    ring: &'g Stage,
    depthwise: &'g Stage,
    op: &'g DepthwiseConv2d,
    project: &'g Stage,
    /// Packed weights of the last producer, the depthwise and the projection.
    producer_layer: Option<&'g PackedLayer>,
    depthwise_layer: &'g PackedLayer,
    project_layer: &'g PackedLayer,
    step: usize,
    first_stage: usize,
}

/// The statements of the fused node `id`, whose stages count from `first_stage` in step `step`.
pub fn statements(context: &Context<'_>, id: NodeId, step: usize, first_stage: usize) -> Code {
    let node = context.graph.node(id);
    let input = context.graph.inputs(id)[0];
    let Op::Fused(Fused { stages, rows }) = &node.op else { return Code::default() };
    let [producers @ .., depthwise, project] = &**stages else { return Code::default() };
    let layer = |stage: usize| context.packs.layer((id, stage));
    let at = producers.len();
    let (Op::DepthwiseConv2d(op), Some(ring), Some(depthwise_layer), Some(project_layer)) =
        (&depthwise.op, producers.last(), layer(at), layer(at + 1))
    else {
        return Code::default();
    };
    let producer_layer = layer(at - 1);
    let input = context.graph.node(input);
    let block = Block {
        context,
        input,
        node,
        rows: *rows,
        producers,
        ring,
        depthwise,
        op,
        project,
        producer_layer,
        depthwise_layer,
        project_layer,
        step,
        first_stage,
    };
    block.code()
}

impl Block<'_> {
    fn code(&self) -> Code {
        let mut kernels = Vec::new();
        let height = self.node.tensor.shape.height;
        let (full, rest) = (height / self.rows, height % self.rows);
        let reads_image = matches!(self.input.op, Op::Input);
        let (mut names, mut places) = (
            vec!["out", "ring", "spatial"],
            vec![place(self.node), stage_place(self.ring), stage_place(self.depthwise)],
        );
        if reads_image {
            names.push("rows");
            places.push(stage_place(&self.producers[0]));
        } else {
            names.push("x");
            places.push(place(self.input));
        }
        let parts = parts(&names, &places);
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
        let clear = self.producers.iter().enumerate().map(|(index, stage)| {
            let name = if index + 1 == self.producers.len() { quote!(ring) } else { quote!(rows) };
            clear_sides(&name, stage.tensor)
        });
        let read = (self.producers.len() > 1).then(|| quote!(let mut read = 0;));
        let rows = lit(self.rows);
        let full_lit = lit(full);
        let body = self.tile(self.rows, &mut kernels);
        let main = quote! {
            for tile in 0..#full_lit {
                let y: usize = tile * #rows;
                #body
            }
        };
        let tail = (rest > 0).then(|| {
            let body = self.tile(rest, &mut kernels);
            let y = lit(full * self.rows);
            quote!({ let y: usize = #y; #body })
        });
        let statements = quote! {
            {
                #(#notes)*
                #parts
                #(#clear)*
                #read
                let mut made = 0;
                #main
                #tail
            }
        };
        Code { statements, kernels }
    }

    /// One tile of `rows` output rows from row `y`.
    fn tile(&self, rows: usize, kernels: &mut Vec<Kernel>) -> TokenStream {
        let input = self.ring.tensor;
        let Window { kernel: [kh, _], stride: [sh, _], padding } = self.op.window;
        let [stride, reach, top, height] = [sh, (rows - 1) * sh + kh, padding.top, input.shape.height].map(lit);
        let groups = lit(input.layout.groups(input.shape));
        let produce = self.produce(kernels);
        let depthwise = self.depthwise(rows, kernels);
        let project = self.project(rows, kernels);
        let ring = self.producers.len() - 1;
        let [produced, filtered, projected] = [ring, ring + 1, ring + 2].map(|stage| self.observe(stage));
        quote! {
            let needed = (y * #stride + #reach).saturating_sub(#top).min(#height);
            for group in 0..#groups {
                #produce
                #produced
                #depthwise
                #filtered
            }
            made = needed;
            #project
            #projected
        }
    }

    /// Fills the group's ring with rows `made..needed`.
    fn produce(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        let ring = self.ring.tensor;
        let slots = ring.layout.stored_rows(ring.shape);
        let row = ring.layout.row_stride(ring.shape);
        let whole = slots >= ring.shape.height;
        let group = self.group_offset();
        let left = ring.layout.border.left * ring.layout.group;
        let (slots_lit, row_lit, left_lit) = (lit(slots), lit(row), lit(left));
        let to = quote!(#group + row % #slots_lit * #row_lit + #left_lit);
        match self.producers {
            [Stage { op: Op::Repack, .. }] => {
                let [width, channels, stored] = [ring.shape.width, ring.shape.channels, ring.layout.group].map(lit);
                let floats = lit(ring.shape.width * ring.shape.channels);
                quote! {
                    for row in made..needed {
                        let first = group * #stored;
                        rt::copy_pixels::<#width, #channels, #stored>(
                            &x[row * #floats + first..], &mut ring[#to..], (#channels - first).min(#stored),
                        );
                    }
                }
            }
            [.., stage] => {
                let before = self.producers.len().checked_sub(2);
                let input = before.map_or(self.input.tensor, |at| self.producers[at].tensor);
                let Some((conv, layer)) =
                    Conv::new(self.context.isa, &stage.op, input, stage.tensor, stage.tile).zip(self.producer_layer)
                else {
                    return quote!();
                };
                if whole && conv.window.is_point() {
                    let x = quote!([rt::src(x, 0)]);
                    let calls = self.panels(&conv, layer, ring.shape.height, &x, &quote!(#group + #left_lit), kernels);
                    return calls;
                }
                let (load, windows) = if conv.window.is_point() {
                    let from = lit(input.layout.row_stride(input.shape));
                    (quote!(), quote!([rt::src(x, row * #from)]))
                } else {
                    self.image_rows(&conv)
                };
                let calls = self.panels(&conv, layer, 1, &windows, &to, kernels);
                let made = before.map(|_| self.observe(self.producers.len() - 1));
                quote! {
                    for row in made..needed {
                        #load
                        #calls
                        #made
                    }
                }
            }
            [] => quote!(),
        }
    }

    /// Reads the image rows that output row `row` of the stem needs, and the windows over them.
    fn image_rows(&self, conv: &Conv) -> (TokenStream, TokenStream) {
        let Tensor { shape, layout } = conv.input;
        let Window { kernel: [kh, _], stride: [sh, _], padding } = conv.window;
        let slots = layout.stored_rows(shape);
        let row_stride = layout.row_stride(shape);
        let [floats, stride, left, slots_lit] =
            [shape.width * shape.channels, row_stride, layout.border.left * layout.group, slots].map(lit);
        let [sh_lit, kh_lit, top, height] = [sh, kh, padding.top, shape.height].map(lit);
        let read = self.observe(0);
        let load = quote! {
            while read < (row * #sh_lit + #kh_lit).saturating_sub(#top).min(#height) {
                image.row::<#floats>(read, &mut rows[read % #slots_lit * #stride + #left..]);
                read += 1;
            }
            #read
        };
        let windows = (0..kh).map(|ky| {
            let ky = lit(ky);
            quote!(rt::ring_row::<#top, #height, #slots_lit, #stride>(rt::src(rows, 0), ZERO.src(), row * #sh_lit + #ky))
        });
        (load, quote!([#(#windows),*]))
    }

    /// Calls that make every panel of `rows` rows.
    fn panels(
        &self,
        conv: &Conv,
        layer: &PackedLayer,
        rows: usize,
        windows: &TokenStream,
        to: &TokenStream,
        kernels: &mut Vec<Kernel>,
    ) -> TokenStream {
        let lanes = self.context.isa.lanes();
        let grouped = layer.group_stride > 0;
        let group = (grouped && self.groups() > 1).then(|| {
            let stride = lit(layer.group_stride);
            quote!(+ group * #stride)
        });
        let out = if grouped { quote!(ring) } else { quote!(out) };
        let calls = conv.panels().into_iter().zip(&layer.at).map(|(panels, at)| {
            let kernel = conv.gemm(&panels, rows).kernel();
            let ident = kernel.ident();
            kernels.push(kernel);
            let (at, stride, width) = (lit(*at), lit(conv.panel_floats(&panels)), lit(panels.nv * lanes));
            let first =
                (panels.first_vector > 0).then(|| lit(panels.first_vector * lanes)).map(|first| quote!(+ #first));
            let (panel_w, panel_c) = match panels.count {
                1 => (quote!(), quote!()),
                _ => (quote!(+ panel * #stride), quote!(+ panel * #width)),
            };
            let residual = conv.epilogue.residual.then(|| quote!(, rt::src(x, #to #first #panel_c)));
            let call =
                quote!(#ident(#windows, w.at(#at #group #panel_w), rt::dst(#out, #to #first #panel_c) #residual););
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

    /// Filters the tile's rows from the ring into `[pixel][channels]`.
    fn depthwise(&self, rows: usize, kernels: &mut Vec<Kernel>) -> TokenStream {
        let (ring, out) = (self.ring.tensor, self.depthwise.tensor);
        let Some(Tile::Depthwise(tile)) = self.depthwise.tile else { return quote!() };
        let kernel = |rows: usize| Depthwise {
            isa: self.context.isa,
            kernel: self.op.window.kernel,
            stride: self.op.window.stride,
            rows,
            cols: out.shape.width,
            tile: tile.cols,
            a_pixel: ring.layout.pixel_stride(),
            c_pixel: out.layout.pixel_stride(),
            c_row: out.layout.row_stride(out.shape),
            vectors: ring.layout.group / self.context.isa.lanes(),
            epilogue: self.op.epilogue,
        };
        let mut call = |first: TokenStream, rows: usize| {
            let kernel = kernel(rows);
            let windows = (0..kernel.input_rows()).map(|ky| self.ring_row(&first, ky));
            let (c_row, stored) = (lit(kernel.c_row), lit(ring.layout.group));
            let at = lit(self.depthwise_layer.at[0]);
            let (weights, column) = match self.groups() {
                1 => (quote!(#at), quote!()),
                _ => {
                    let stride = lit(self.depthwise_layer.group_stride);
                    (quote!(#at + group * #stride), quote!(+ group * #stored))
                }
            };
            let made = kernel.kernel();
            let ident = made.ident();
            kernels.push(made);
            quote!(#ident([#(#windows),*], w.at(#weights), rt::dst(spatial, (#first) * #c_row #column));)
        };
        let (count, rest) = (rows / tile.rows, rows % tile.rows);
        let main = (count > 0).then(|| {
            let (count_lit, height) = (lit(count), lit(tile.rows));
            let call = call(if count > 1 { quote!(strip * #height) } else { quote!(0) }, tile.rows);
            if count > 1 { quote!(for strip in 0..#count_lit { #call }) } else { call }
        });
        // Rows that are left over are filtered one by one.
        let tail = (rest > 0).then(|| {
            let (from, to) = (lit(count * tile.rows), lit(rows));
            let call = call(quote!(single), 1);
            quote!(for single in #from..#to { #call })
        });
        quote!(#main #tail)
    }

    /// Row `ky` of the window of the tile's output row `first`.
    fn ring_row(&self, first: &TokenStream, ky: usize) -> TokenStream {
        let ring = self.ring.tensor;
        let [top, height, slots, stride, sh, ky] = [
            self.op.window.padding.top,
            ring.shape.height,
            ring.layout.stored_rows(ring.shape),
            ring.layout.row_stride(ring.shape),
            self.op.window.stride[0],
            ky,
        ]
        .map(lit);
        let group = self.group_offset();
        quote!(rt::ring_row::<#top, #height, #slots, #stride>(rt::src(ring, #group), ZERO.src(), (y + #first) * #sh + #ky))
    }

    /// Makes the tile's output rows.
    fn project(&self, rows: usize, kernels: &mut Vec<Kernel>) -> TokenStream {
        let (input, output) = (self.depthwise.tensor, self.project.tensor);
        let Some(conv) = Conv::new(self.context.isa, &self.project.op, input, output, self.project.tile) else {
            return quote!();
        };
        let row = lit(output.layout.row_stride(output.shape));
        self.panels(&conv, self.project_layer, rows, &quote!([rt::src(spatial, 0)]), &quote!(y * #row), kernels)
    }

    /// Tells the observer that `stage` of the block did a part of its work.
    fn observe(&self, stage: usize) -> TokenStream {
        let (step, stage) = (lit(self.step), lit(self.first_stage + stage));
        quote!(observer.stage(#step, #stage);)
    }

    fn groups(&self) -> usize {
        self.ring.tensor.layout.groups(self.ring.tensor.shape)
    }

    /// Where the group's ring starts.
    fn group_offset(&self) -> TokenStream {
        let Tensor { shape, layout } = self.ring.tensor;
        match layout.held_groups(shape) {
            1 => quote!(0),
            _ => {
                let stride = lit(layout.group_stride(shape));
                quote!(group * #stride)
            }
        }
    }
}

fn stage_place(stage: &Stage) -> Place {
    stage.place.unwrap_or(Place { offset: 0, bytes: 0 })
}

/// Zeroes the columns beside the image in every row of a ring; the scratch holds what other steps left.
fn clear_sides(name: &TokenStream, tensor: Tensor) -> TokenStream {
    let Tensor { shape, layout } = tensor;
    let rows = layout.stored_rows(shape) * layout.held_groups(shape);
    let border = layout.border;
    let [rows, stride, left, right] =
        [rows, layout.row_stride(shape), border.left * layout.group, border.right * layout.group].map(lit);
    quote!(rt::clear_sides::<#rows, #stride, #left, #right>(#name);)
}
