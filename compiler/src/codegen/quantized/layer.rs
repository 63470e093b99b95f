//! Products over whole values: head, classifier, and convolutions outside of fused blocks.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};

use super::block::{product_calls, unfused};
use super::kernel::{Activations, Ahead, CallPanels, Finish, Gather, Product, Widen, Writeback};
use super::pack::Plan;
use crate::codegen::kernel::Kernel;
use crate::codegen::prefetch::Next;
use crate::codegen::step::{Code, Context, Team, note, parts_of, place};
use crate::codegen::tokens::{affine, lit, repeat, sum};
use crate::ir::{Node, NodeId, Op, Order, Tensor, Tile, Widened, WidenedForm, Window};
use crate::schedule::ahead::prefetched;
use crate::schedule::quantized::{QUAD, Sharing, sharing};
use crate::target::IsaFacts;

/// Returns the statements of node `id`, stage `stage` of step `step`.
pub fn statements(context: &Context<'_>, plan: &Plan, id: NodeId, step: usize, stage: usize) -> Code {
    let (graph, isa) = (context.graph, context.isa);
    let node = graph.node(id);
    let quads = matches!(node.tensor.layout.order, Order::RowQuads { .. });
    if quads || matches!(node.op, Op::DepthwiseConv2d(_)) {
        return unfused(context, plan, id, step, stage);
    }
    if matches!(node.op, Op::Repack) {
        return image(context, plan, id, step, stage);
    }
    let inputs: Vec<&Node> = graph.inputs(id).into_iter().map(|input| graph.node(input)).collect();
    let (Some(layer), Some(Tile::Gemm(tile)), [input, added @ ..]) = (plan.layer((id, 0)), node.tile, &*inputs) else {
        return Code::default();
    };
    let epilogue = node.op.epilogue();
    let shape = epilogue.unpooled(node.tensor.shape);
    let channels = shape.channels;
    let window = node.op.window().unwrap_or(Window::POINT);
    let Tensor { shape: from, layout, .. } = input.tensor;
    let [kh, kw] = window.kernel;
    // The rows of windowed pixels overlap, so each row is a call. Pointwise pixels are contiguous.
    let (pixels, count) = if window.is_point() { (shape.pixels(), 1) } else { (shape.width, shape.height) };
    let row = layout.row_stride(from);
    let widened = node.widened(input.tensor);
    let vectors = layout.group / isa.lanes();
    let (a, k) = match layout.order {
        Order::PixelQuads { lanes } => {
            let vector = layout.group_stride(from) / vectors;
            (Activations::PixelQuads { vector, quads: lanes / QUAD }, layout.group / QUAD)
        }
        _ if let Some(widened) = widened => match widened.of {
            WidenedForm::Crossed => {
                let (pixel, quad) = (widened.pixel(), QUAD * size_of::<i16>());
                (Activations::Strided { pixel, quad }, widened.quads())
            }
            WidenedForm::Pairs => (Activations::Strided { pixel: QUAD, quad: pixels * QUAD }, widened.pairs()),
        },
        Order::ChannelPairs => (Activations::Strided { pixel: QUAD, quad: layout.plane(from) }, layout.group / 2),
        Order::ChannelQuads => (Activations::Strided { pixel: QUAD, quad: layout.plane(from) }, layout.group / QUAD),
        _ => {
            let pixel = window.stride[1] * from.channels;
            (Activations::Strided { pixel, quad: QUAD }, (kw * from.channels).div_ceil(QUAD))
        }
    };
    let (sharing, unit, team) = match sharing(layout.order, shape.width) {
        Sharing::Panels => (Team::ONE, shape.height, context.team),
        Sharing::Rows(unit) => (context.team, unit, Team::ONE),
    };
    let logits = node.place.is_none();
    let (mut names, mut places) = (vec!["x"], vec![place(input)]);
    if !logits {
        names.push("out");
        places.push(place(node));
    }
    let residual = epilogue.residual.then(|| added.first()).flatten();
    if let Some(residual) = residual {
        names.push("added");
        places.push(place(residual));
    }
    if let Some(workspace) = node.workspace {
        names.push("sums");
        places.push(workspace);
    }
    let parts = parts_of(&names, &places, 1);
    let out = logits.then(|| quote!(let out = logits;));
    let pools = epilogue.pool.is_some();
    let (to_area, size) = if pools { (quote!(sums), size_of::<i32>()) } else { (quote!(out), 1) };
    let header = lit(layer.header);
    let next = Next::after(context, id, prefetched(shape.elements() * from.channels), |reader| {
        let panels = &plan.layer((reader, 0))?.panels;
        Some((panels.first()?.at, panels.iter().map(|panels| panels.count * panels.stride).sum()))
    });
    let next = next.filter(|_| window.is_point());
    let writeback = match (pools, residual) {
        (true, _) => Writeback::Pool,
        (false, Some(_)) => Writeback::Add,
        (false, None) => Writeback::Store,
    };
    let part = |first: &dyn Fn(usize) -> TokenStream, units, finish, kernels: &mut Vec<Kernel>| {
        let part = if units * unit < shape.height { units * unit * shape.width } else { pixels };
        let (from_first, to_first) = (first(unit * shape.width * a.pixel()), first(unit * shape.width * channels));
        let calls = layer.panels.iter().map(|panels| {
            let base = Product {
                isa,
                runs: kh,
                k,
                pixels: part,
                a,
                c_pixel: channels,
                mr: tile.mr,
                half: panels.half,
                nv: panels.vectors,
                last: 0,
                finish,
                writeback,
                form: layer.form,
                outliers: layer.outliers,
                ahead: Ahead::default(),
                panels: CallPanels::ONE,
            };
            let ahead = Ahead {
                next: next.map_or(0, |next| next.per_channel * base.lanes() * panels.vectors),
                ..Ahead::of_panel(isa, if window.is_point() && shape.pixels() > 1 { panels.stride } else { 0 })
            };
            let base = Product { ahead, ..base };
            product_calls(&base, panels, team, kernels, &|kernel: &Ident, weights, channel| {
                let windows = (0..kh).map(|ky| affine(ky * row, &[("row", window.stride[0] * row, count)]));
                let windows = windows.map(|at| sum(&[from_first.clone(), at]));
                let next = next.map(|next| next.argument(&channel));
                let at = affine(0, &[("row", shape.width * channels, count)]);
                let to = sum(&[to_first.clone(), at, times(channel, size)]);
                let (source, windows): (_, Vec<_>) = match widened {
                    Some(_) => {
                        let at = node.pool_bytes();
                        (quote!(sums), windows.map(|window| sum(&[lit(at).to_token_stream(), window])).collect())
                    }
                    None => (quote!(x), windows.collect()),
                };
                let added = residual.map(|_| quote!(, rt::src(added, #to)));
                quote! {
                    #kernel([#(rt::src(#source, #windows)),*], w.at(#weights), w.at(#header), #next rt::dst(#to_area, #to) #added);
                }
            })
        });
        quote!(#(#calls)*)
    };
    let calls = |finish: Finish, kernels: &mut Vec<Kernel>| {
        sharing.parts(shape.height / unit, |first, units| part(first, units, finish, kernels))
    };
    let mut kernels = Vec::new();
    let wide = lit(node.pool_bytes());
    let widen = widened.map(|to| {
        let kernel = match to.of {
            WidenedForm::Crossed => Widen { isa, rows: 1, to }.kernel(),
            WidenedForm::Pairs => {
                let Widened { run, runs, cols, .. } = to;
                Gather { isa, runs, run, stride: 1, rows: 1, cols, a_pixel: from.channels, quads: false }.kernel()
            }
        };
        let ident = kernel.ident();
        kernels.push(kernel);
        let once = context.team.once(quote!(#ident([rt::src(x, 0)], rt::dst(sums, #wide));));
        let wait = context.team.wait();
        quote!(#once #wait)
    });
    let work = match epilogue.activation.is_some() && isa.has_biased_sums() {
        true => {
            let (general, biased) = (calls(plan.general(), &mut kernels), calls(plan.fast(), &mut kernels));
            quote!(if rt::quantized::is_general(w, #header) { #general } else { #biased })
        }
        false => calls(plan.general(), &mut kernels),
    };
    let work = repeat("row", count, work);
    let average = pools.then(|| {
        let (pixels, channels) = (lit(shape.pixels()), lit(channels));
        let average = quote!(rt::quantized::average::<#pixels, #channels>(&PLAN, w.at(#header), sums, out););
        let wait = context.team.wait();
        let once = context.team.once(average);
        quote!(#wait #once)
    });
    let (note, step, stage) = (note(node), lit(step), lit(stage));
    let statements = quote! {
        {
            rt::note!(#note);
            #parts
            #out
            #widen
            #work
            #average
        }
        observer.stage(#step, #stage);
    };
    Code { statements, kernels }
}

/// Returns the code that copies the image into a padded frame, which the stem reads.
fn image(context: &Context<'_>, plan: &Plan, id: NodeId, step: usize, stage: usize) -> Code {
    let node = context.graph.node(id);
    let Tensor { shape, layout, .. } = node.tensor;
    let reader = context.graph.readers(id).first().and_then(|reader| plan.layer((*reader, 0)));
    let Some(reader) = reader else { return Code::default() };
    let parts = parts_of(&["out"], &[place(node)], 1);
    let first = layout.offset(shape, 0, 0, 0);
    let [header, all, height, bytes, first, stride] = [
        reader.header,
        node.tensor.bytes(),
        shape.height,
        shape.width * shape.channels,
        first,
        layout.row_stride(shape),
    ]
    .map(lit);
    let copy = context.team.once(quote! {
        rt::quantized::pad(w, #header, out, 0..#all);
        for row in 0..#height {
            rt::quantized::image_bytes::<#bytes>(image, row, out.at(#first + row * #stride));
        }
    });
    let (note, step, stage) = (note(node), lit(step), lit(stage));
    let statements = quote! {
        {
            rt::note!(#note);
            #parts
            #copy
        }
        observer.stage(#step, #stage);
    };
    Code { statements, kernels: Vec::new() }
}

/// Returns an offset in units of `bytes` bytes.
fn times(place: TokenStream, bytes: usize) -> TokenStream {
    let bytes_lit = lit(bytes);
    if bytes == 1 { place } else { quote!((#place) * #bytes_lit) }
}
