//! A streamed inverted residual block of floats.
//!
//! For each tile of output rows, for each channel group: the producer (expand, the stem, or a copy) fills the group's
//! ring with the new input rows. The depthwise convolution reads the ring and writes its rows of the tile. Then the
//! projection computes the tile's output. A single thread computes nothing twice.
//!
//! Each thread of a team computes consecutive tiles in its own ring. It recomputes only the halo rows that its
//! neighbor also needs. If a block is a single tile, the threads share its channel groups, and then its panels.

use proc_macro2::TokenStream;
use quote::quote;

use super::areas::areas;
use super::conv::Conv;
use super::kernel::Depthwise;
use super::pack::{PackPlan, PackedLayer};
use super::panels::{Fast, PanelCalls, dots, flag, flag_name};
use crate::codegen::kernel::Kernel;
use crate::codegen::step::{Code, Context, Stream, Team};
use crate::codegen::tokens::{affine, lit, repeat, sum};
use crate::ir::{ElementType, Epilogue, NodeId, Op, Stage, Tensor, Tile, Window};
use crate::target::IsaFacts;

/// Streamed block of floats.
type Block<'g> = Stream<'g, Packed<'g>>;

/// Data of a streamed block that is specific to floats.
struct Packed<'g> {
    /// Epilogue of the depthwise convolution.
    epilogue: Epilogue,
    /// Packed weights of the last producer, the depthwise and the projection.
    producer: Option<&'g PackedLayer>,
    depthwise: &'g PackedLayer,
    project: &'g PackedLayer,
}

/// Returns the statements of the fused node `id`. Its stages are numbered from `first_stage` in step `step`.
pub fn statements(context: &Context<'_>, packs: &PackPlan, id: NodeId, step: usize, first_stage: usize) -> Code {
    let Some(stream) = Stream::new(context, id, step, first_stage) else { return Code::default() };
    let at = stream.producers.len();
    let layer = |stage: usize| packs.layer((id, stage));
    let (Some(depthwise), Some(project)) = (layer(at), layer(at + 1)) else { return Code::default() };
    let epilogue = stream.depthwise.op.epilogue();
    stream.with(Packed { epilogue, producer: layer(at - 1), depthwise, project }).code()
}

impl Block<'_> {
    fn code(&self) -> Code {
        let mut kernels = Vec::new();
        let height = self.node.tensor.shape.height;
        let (full, rest) = (height / self.rows, height % self.rows);
        let mut values = self.memory();
        for (stage, name) in [(self.ring, "produce_dots"), (self.project, "project_dots")] {
            values.extend(stage.workspace.map(|place| (name, place, ElementType::F32)));
        }
        let parts = areas(&values);
        let flags = self.flags();
        let notes = self.notes();
        let clear = self.producers.iter().enumerate().map(|(index, stage)| {
            let name = if index + 1 == self.producers.len() { quote!(ring) } else { quote!(rows) };
            clear_sides(&name, stage.tensor)
        });
        let begin = self.begin(full + usize::from(rest > 0));
        let rows = lit(self.rows);
        let body = self.tile(self.rows, &mut kernels);
        let main = match self.row() {
            None => body,
            Some(_) => {
                let tiles = self.tiles(0, full);
                quote!(for tile in #tiles { let y = tile * #rows; #body })
            }
        };
        let tail = (rest > 0).then(|| {
            let body = self.tile(rest, &mut kernels);
            let (y, tiles) = (lit(full * self.rows), self.tiles(full, 1));
            match self.context.team.are_many() {
                true => quote!(for _ in #tiles { let y = #y; #body }),
                false => quote!({ let y = #y; #body }),
            }
        });
        let statements = quote! {
            {
                #notes
                #parts
                #flags
                #(#clear)*
                #begin
                #main
                #tail
            }
        };
        Code { statements, kernels }
    }

    /// Returns the start of a thread: the first of its `tiles`, and the input rows that this tile needs. Two
    /// neighboring threads both compute the halo rows between them.
    fn begin(&self, tiles: usize) -> TokenStream {
        let stem = (self.producers.len() > 1).then_some(&self.ring.op);
        if self.row().is_none() || !self.context.team.are_many() {
            let done = self.row().map(|_| quote!(let mut done = 0;));
            let read = stem.map(|_| quote!(let mut read = 0;));
            return quote!(#done #read);
        }
        let Window { stride: [sh, _], padding, .. } = self.window;
        let (share, step, top) = (self.context.team.share(tiles), lit(self.rows * sh), lit(padding.top));
        let read = match stem {
            Some(Op::Conv2d(stem)) => {
                let [step, top] = [stem.window.stride[0], stem.window.padding.top].map(lit);
                quote!(let mut read = usize::saturating_sub(done * #step, #top);)
            }
            _ => quote!(),
        };
        quote! {
            let mine = #share;
            let mut done = usize::saturating_sub(mine.start * #step, #top);
            #read
        }
    }

    /// Returns the range of this thread's tiles among `count` tiles from `first`.
    fn tiles(&self, first: usize, count: usize) -> TokenStream {
        let (first, count) = (lit(first), lit(count));
        if self.context.team.are_many() { quote!(rt::within(&mine, #first, #count)) } else { quote!(0..#count) }
    }

    /// Returns the code of one tile of `rows` output rows from row `y`.
    fn tile(&self, rows: usize, kernels: &mut Vec<Kernel>) -> TokenStream {
        let input = self.ring.tensor;
        let Window { kernel: [kh, _], stride: [sh, _], padding } = self.window;
        let [stride, reach, top, height] = [sh, (rows - 1) * sh + kh, padding.top, input.shape.height].map(lit);
        let groups = input.layout.groups(input.shape);
        // The threads share the channel groups and the panels of a single tile. Of several tiles, each belongs to one
        // thread.
        let groups = match self.row() {
            None => self.context.team.share(groups),
            Some(_) => Team::ONE.share(groups),
        };
        let (dots, produce) = (self.produce_dots(kernels), self.produce(kernels));
        let depthwise = self.depthwise(rows, kernels);
        let project = self.project(rows, kernels);
        let [produced, filtered, projected] = self.observers();
        let groups = quote! {
            #dots
            for group in #groups {
                #produce
                #produced
                #depthwise
                #filtered
            }
        };
        match self.row() {
            None => {
                let wait = self.context.team.wait();
                quote!(#groups #wait #project #projected)
            }
            Some(y) => quote! {
                let needed = usize::min(usize::saturating_sub(#y * #stride + #reach, #top), #height);
                #groups
                done = needed;
                #project
                #projected
            },
        }
    }

    /// Returns the first output row of the tile, or `None` if one tile is the whole image.
    fn row(&self) -> Option<TokenStream> {
        (!self.is_whole()).then(|| quote!(y))
    }

    /// Returns the range of rows that are new to the ring.
    fn new_rows(&self) -> TokenStream {
        let height = lit(self.ring.tensor.shape.height);
        self.row().map_or_else(|| quote!(0..#height), |_| quote!(done..needed))
    }

    /// Fills the group's ring with its new rows.
    fn produce(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        let ring = self.ring.tensor;
        let slots = ring.layout.stored_rows(ring.shape);
        let row = ring.layout.row_stride(ring.shape);
        let whole = slots >= ring.shape.height;
        let group = self.group_offset();
        let left = ring.layout.border.left * ring.layout.group;
        let (slots_lit, row_lit, left_lit) = (lit(slots), lit(row), lit(left));
        let to = sum(&[group.clone(), quote!(row % #slots_lit * #row_lit), quote!(#left_lit)]);
        let new = self.new_rows();
        match self.producers {
            [Stage { op: Op::Repack, .. }] => {
                let [width, channels, stored] = [ring.shape.width, ring.shape.channels, ring.layout.group].map(lit);
                let floats = lit(ring.shape.width * ring.shape.channels);
                quote! {
                    for row in #new {
                        let first = group * #stored;
                        rt::copy_pixels::<#width, #channels, #stored>(
                            x.at(row * #floats + first), ring.at(#to), (#channels - first).min(#stored),
                        );
                    }
                }
            }
            [.., _] => {
                let before = self.producers.len().checked_sub(2);
                let input = self.producer_input();
                let Some((conv, layer)) = self.producer().zip(self.packed.producer) else { return quote!() };
                let group_weights = (self.groups() > 1).then(|| {
                    let stride = lit(layer.group_stride);
                    quote!(group * #stride)
                });
                let calls = |rows, windows, to, dots, kernels: &mut Vec<Kernel>| {
                    let fast = conv.is_fast().then(|| Fast { flag: flag_name("produce"), dots, next: None });
                    let (weights, out) = (group_weights.clone(), quote!(ring));
                    let team = Team::ONE;
                    PanelCalls {
                        conv: &conv,
                        layer,
                        rows,
                        windows,
                        weights,
                        out,
                        to,
                        residual: None,
                        fast,
                        next: None,
                        team,
                    }
                    .code(kernels)
                };
                if whole && conv.window.is_point() {
                    let (x, to) = (quote!([rt::src(x, 0)]), sum(&[group, quote!(#left_lit)]));
                    return calls(ring.shape.height, x, to, quote!(rt::src(produce_dots, 0)), kernels);
                }
                let (load, windows, dots) = if conv.window.is_point() {
                    let from = lit(input.layout.row_stride(input.shape));
                    let at = self.dots_row();
                    (quote!(), quote!([rt::src(x, row * #from)]), quote!(rt::src(produce_dots, #at)))
                } else {
                    let (load, windows) = self.read_rows(&conv);
                    let dots = conv.is_fast().then(|| {
                        let dots = dots(&conv, 1, &windows, &quote!(rt::dst(produce_dots, 0)), kernels);
                        quote!(if produce_fast { #dots })
                    });
                    (quote!(#load #dots), windows, quote!(rt::src(produce_dots, 0)))
                };
                let calls = calls(1, windows, to, dots, kernels);
                let observe = before.map(|_| self.observe(self.producers.len() - 1));
                quote! {
                    for row in #new {
                        #load
                        #calls
                        #observe
                    }
                }
            }
            [] => quote!(),
        }
    }

    /// Returns the input tensor of the last producer.
    fn producer_input(&self) -> Tensor {
        let before = self.producers.len().checked_sub(2);
        before.map_or(self.input.tensor, |at| self.producers[at].tensor)
    }

    /// Returns the convolution that fills the ring, or `None` if a copy fills it.
    fn producer(&self) -> Option<Conv> {
        let Stage { op, tensor, tile, .. } = self.producers.last()?;
        Conv::new(self.context.isa, op, self.producer_input(), *tensor, *tile)
    }

    /// Returns the code that reads the image rows for output row `row` of the stem, and the windows over them.
    fn read_rows(&self, conv: &Conv) -> (TokenStream, TokenStream) {
        let Tensor { shape, layout, .. } = conv.input;
        let Window { kernel: [kh, _], stride: [sh, _], padding } = conv.window;
        let slots = layout.stored_rows(shape);
        let row_stride = layout.row_stride(shape);
        let [floats, stride, left, slots_lit] =
            [shape.width * shape.channels, row_stride, layout.border.left * layout.group, slots].map(lit);
        let [sh_lit, kh_lit, top, height] = [sh, kh, padding.top, shape.height].map(lit);
        let read = self.observe(0);
        let load = quote! {
            while read < usize::min(usize::saturating_sub(row * #sh_lit + #kh_lit, #top), #height) {
                rt::image_row::<#floats>(image, read, rows.at(read % #slots_lit * #stride + #left));
                read += 1;
            }
            #read
        };
        let rows = ring_rows(kh, padding.top, conv.input);
        (load, quote!(#rows(rt::src(rows, 0), w.view(&ZERO.0), row * #sh_lit)))
    }

    /// Returns the flags of producer and projection that select the fast inner product.
    fn flags(&self) -> TokenStream {
        let roles =
            [("produce", self.ring, self.packed.producer), ("project", self.project, Some(self.packed.project))];
        let lets = roles.into_iter().filter_map(|(role, stage, layer)| {
            let layer = layer.filter(|_| stage.workspace.is_some())?;
            Some(flag(&flag_name(role), layer))
        });
        quote!(#(#lets)*)
    }

    /// Returns the code that computes the dots of the ring's new rows. All channel groups share these dots. The dots
    /// of the stem are computed row by row.
    fn produce_dots(&self, kernels: &mut Vec<Kernel>) -> TokenStream {
        let stage = self.ring;
        let Some(conv) = self.producer().filter(|conv| conv.is_fast() && conv.window.is_point()) else {
            return quote!();
        };
        let ring = stage.tensor;
        if ring.layout.stored_rows(ring.shape) >= ring.shape.height && self.row().is_none() {
            let to = quote!(rt::dst(produce_dots, 0));
            let dots = dots(&conv, ring.shape.height, &quote!([rt::src(x, 0)]), &to, kernels);
            return quote!(if produce_fast { #dots });
        }
        let (from, new, at) = (lit(conv.input.layout.row_stride(conv.input.shape)), self.new_rows(), self.dots_row());
        let to = quote!(rt::dst(produce_dots, #at));
        let dots = dots(&conv, 1, &quote!([rt::src(x, row * #from)]), &to, kernels);
        quote!(if produce_fast { for row in #new { #dots } })
    }

    /// Returns the offset of the dots of row `row`.
    fn dots_row(&self) -> TokenStream {
        let width = lit(self.ring.tensor.shape.width);
        self.row().map_or_else(|| quote!(row * #width), |_| quote!((row - done) * #width))
    }

    /// Filters the tile's rows from the ring into `[pixel][channels]`.
    fn depthwise(&self, rows: usize, kernels: &mut Vec<Kernel>) -> TokenStream {
        let (ring, out) = (self.ring.tensor, self.depthwise.tensor);
        let Some(Tile::Depthwise(tile)) = self.depthwise.tile else { return quote!() };
        let kernel = |rows: usize| Depthwise {
            isa: self.context.isa,
            kernel: self.window.kernel,
            stride: self.window.stride,
            rows,
            cols: out.shape.width,
            tile: tile.cols,
            a_pixel: ring.layout.pixel_stride(),
            c_pixel: out.layout.pixel_stride(),
            c_row: out.layout.row_stride(out.shape),
            vectors: ring.layout.group / self.context.isa.lanes(),
            epilogue: self.packed.epilogue,
            output: out.element,
        };
        // The first row is an index in units of some rows, or the tile's first row.
        let mut call = |first: Option<(&str, usize)>, rows: usize| {
            let kernel = kernel(rows);
            let row = |unit: usize| first.map(|(index, step)| affine(0, &[(index, step * unit, 2)]));
            let windows = self.ring_rows(row(1), kernel.input_rows());
            let groups = self.groups();
            let weights = affine(self.packed.depthwise.at[0], &[("group", self.packed.depthwise.group_stride, groups)]);
            let column = affine(0, &[("group", ring.layout.group, groups)]);
            let function = kernel.kernel();
            let ident = function.ident();
            kernels.push(function);
            let to = sum(&[row(kernel.c_row).unwrap_or_default(), column]);
            quote!(#ident(#windows, w.at(#weights), rt::dst(spatial, #to));)
        };
        let (count, rest) = (rows / tile.rows, rows % tile.rows);
        let main = (count > 0).then(|| {
            let call = call((count > 1).then_some(("strip", tile.rows)), tile.rows);
            repeat("strip", count, call)
        });
        // The remaining rows are filtered one by one.
        let tail = (rest > 0).then(|| {
            let (from, to) = (lit(count * tile.rows), lit(rows));
            let call = call(Some(("single", 1)), 1);
            quote!(for single in #from..#to { #call })
        });
        quote!(#main #tail)
    }

    /// Returns the rows of the ring for `count` rows of windows. `first` is the first output row within the tile.
    fn ring_rows(&self, first: Option<TokenStream>, count: usize) -> TokenStream {
        let stride = self.window.stride[0];
        let first = match (self.row(), first) {
            (Some(y), Some(first)) => quote!((#y + #first)),
            (y, first) => y.or(first).unwrap_or_else(|| quote!(0)),
        };
        let first = if stride == 1 { first } else { times(first, stride) };
        let (rows, group) = (ring_rows(count, self.window.padding.top, self.ring.tensor), self.group_offset());
        quote!(#rows(rt::src(ring, #group), w.view(&ZERO.0), #first))
    }

    /// Computes the tile's output rows.
    fn project(&self, rows: usize, kernels: &mut Vec<Kernel>) -> TokenStream {
        let (input, output) = (self.depthwise.tensor, self.project.tensor);
        let Some(conv) = Conv::new(self.context.isa, &self.project.op, input, output, self.project.tile) else {
            return quote!();
        };
        let to = self.row().map_or_else(|| quote!(0), |y| times(y, output.layout.row_stride(output.shape)));
        let windows = quote!([rt::src(spatial, 0)]);
        let dots = conv.is_fast().then(|| {
            let dots = dots(&conv, rows, &windows, &quote!(rt::dst(project_dots, 0)), kernels);
            quote!(if project_fast { #dots })
        });
        let fast = conv.is_fast().then(|| Fast {
            flag: flag_name("project"),
            dots: quote!(rt::src(project_dots, 0)),
            next: None,
        });
        let residual = conv.epilogue.residual.then(|| (quote!(x), to.clone(), self.input.tensor.element));
        let (layer, out) = (self.packed.project, quote!(out));
        let team = if self.row().is_none() { self.context.team } else { Team::ONE };
        let calls =
            PanelCalls { conv: &conv, layer, rows, windows, weights: None, out, to, residual, fast, next: None, team };
        let calls = calls.code(kernels);
        quote!(#dots #calls)
    }

    /// Returns the offset of the group's ring.
    fn group_offset(&self) -> TokenStream {
        let Tensor { shape, layout, .. } = self.ring.tensor;
        match layout.held_groups(shape) {
            1 => quote!(0),
            _ => {
                let stride = lit(layout.group_stride(shape));
                quote!(group * #stride)
            }
        }
    }
}

/// Zeroes the columns left and right of the image in every row of a ring. The scratch holds values of earlier steps.
fn clear_sides(name: &TokenStream, tensor: Tensor) -> TokenStream {
    let Tensor { shape, layout, .. } = tensor;
    let rows = layout.stored_rows(shape) * layout.held_groups(shape);
    let border = layout.border;
    let [rows, stride, left, right] =
        [rows, layout.row_stride(shape), border.left * layout.group, border.right * layout.group].map(lit);
    quote!(rt::clear_sides::<#rows, #stride, #left, #right>(#name);)
}

/// Returns `rt::ring_rows` for `rows` rows of a ring below `top` zero rows.
fn ring_rows(rows: usize, top: usize, ring: Tensor) -> TokenStream {
    let Tensor { shape, layout, .. } = ring;
    let [rows, top, height, slots, stride] =
        [rows, top, shape.height, layout.stored_rows(shape), layout.row_stride(shape)].map(lit);
    quote!(rt::ring_rows::<#rows, #top, #height, #slots, #stride, _>)
}

fn times(value: TokenStream, factor: usize) -> TokenStream {
    let factor = lit(factor);
    quote!(#value * #factor)
}
