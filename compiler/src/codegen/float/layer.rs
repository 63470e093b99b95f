//! Operations over whole tensors: all operations at fusion levels `none` and `relu6`, and head and classifier at all
//! levels.

use proc_macro2::TokenStream;
use quote::quote;

use super::areas::{Area, areas};
use super::conv::Conv;
use super::kernel::{Depthwise, Elementwise, Pool};
use super::pack::PackPlan;
use super::panels::{Fast, PanelCalls, dots, flag, flag_name};
use crate::codegen::kernel::Kernel;
use crate::codegen::prefetch::Next;
use crate::codegen::step::{Code, Context, Team, note, place};
use crate::codegen::tokens::{affine, lit, repeat};
use crate::ir::{Activation, DepthwiseConv2d, ElementType, Node, NodeId, Op, Shape, Tensor, Tile};
use crate::schedule::ahead::{prefetched, prefetched_with_two_ports};
use crate::schedule::balance::is_balanced;
use crate::target::IsaFacts;

/// Returns the statements of node `id`, stage `stage` of step `step`.
pub fn statements(context: &Context<'_>, packs: &PackPlan, id: NodeId, step: usize, stage: usize) -> Code {
    let node = context.graph.node(id);
    let inputs: Vec<&Node> = context.graph.inputs(id).into_iter().map(|input| context.graph.node(input)).collect();
    let (body, kernels) = match (&node.op, &*inputs) {
        (Op::Conv2d(_) | Op::Dense(_), [input, rest @ ..]) => conv(context, packs, id, input, rest.first().copied()),
        (Op::DepthwiseConv2d(op), [input]) => depthwise(context, packs, id, op, input),
        (Op::Activation(op), [input]) => elementwise(context, node, input, Some(*op), None),
        (Op::Add, [input, residual]) => elementwise(context, node, input, None, Some(residual)),
        (Op::GlobalAvgPool, [input]) => pool(context, node, input),
        (Op::Repack, [input]) => repack(context, node, input),
        _ => (quote!(), Vec::new()),
    };
    let (name, step, stage) = (note(node), lit(step), lit(stage));
    let statements = quote! {
        {
            rt::note!(#name);
            #body
        }
        observer.stage(#step, #stage);
    };
    Code { statements, kernels }
}

/// Returns the code of a convolution: panels of output channels, over chunks of rows that stay in a near cache.
fn conv(
    context: &Context<'_>,
    packs: &PackPlan,
    id: NodeId,
    input: &Node,
    residual: Option<&Node>,
) -> (TokenStream, Vec<Kernel>) {
    let node = context.graph.node(id);
    let (Some(conv), Some(layer)) =
        (Conv::new(context.isa, &node.op, input.tensor, node.tensor, node.tile), packs.layer((id, 0)))
    else {
        return (quote!(), Vec::new());
    };
    let mut values = vec![value("x", input)];
    values.extend(residual.map(|residual| value("residual", residual)));
    let logits = node.place.is_none();
    if !logits {
        values.push(value("out", node));
    }
    values.extend(node.workspace.filter(|_| conv.is_fast()).map(|place| ("dots", place, ElementType::F32)));
    let parts = areas(&values);
    let out = if logits { quote!(let out = logits;) } else { quote!() };
    let chunk = conv.tile.chunk;
    let count = conv.output.shape.height / chunk;
    let (chunks, team) = share_of_chunks(context.team, count);
    let [sh, _] = conv.window.stride;
    let row = input.tensor.layout.row_stride(input.tensor.shape);
    // A windowed convolution starts in the border, a pointwise convolution at the first pixel.
    let from = if conv.window.is_point() { Conv::interior(input.tensor) } else { 0 };
    let of_chunk = |first: usize, step: usize| affine(first, &[("chunk", chunk * step, count)]);
    let c_row = node.tensor.layout.row_stride(node.tensor.shape);
    let mut kernels = Vec::new();
    let clear = clear_border(context.team, node.tensor);
    let windows = |rows: usize| {
        let windows = (0..conv.window.kernel[0]).map(|ky| {
            let at = affine(from + ky * row, &[("chunk", chunk * sh * row, count), ("row", sh * row, rows)]);
            quote!(rt::src(x, #at))
        });
        quote!([#(#windows),*])
    };
    let next = |most: usize| {
        let next = Next::after(context, id, most, |reader| {
            let classifier = context.graph.node(reader);
            let dense = Conv::new(context.isa, &classifier.op, node.tensor, classifier.tensor, classifier.tile)?;
            Some((*packs.layer((reader, 0))?.at.first()?, dense.group_floats()))
        });
        // Kernels of block products prefetch nothing; see `Gemm::ahead`.
        next.filter(|_| count == 1 && conv.window.is_point() && conv.product.depth().is_none())
    };
    let (shape, weights) = (conv.output.shape, conv.k() * conv.output.shape.channels);
    let macs = shape.pixels() * weights;
    let fast = conv.is_fast().then(|| Fast {
        flag: flag_name("conv"),
        dots: quote!(rt::src(dots, 0)),
        next: next(prefetched(macs)),
    });
    let (flag, dots) = match &fast {
        None => (quote!(), quote!()),
        Some(fast) => {
            // Row by row, since rows may not be contiguous.
            let to = affine(0, &[("row", conv.output.shape.width, chunk)]);
            let dots = repeat("row", chunk, dots(&conv, 1, &windows(chunk), &quote!(rt::dst(dots, #to)), &mut kernels));
            let name = &fast.flag;
            (flag(name, layer), quote!(if #name { #dots }))
        }
    };
    let residual = residual.map(|residual| (quote!(residual), of_chunk(0, c_row), residual.tensor.element));
    let calls = PanelCalls {
        conv: &conv,
        layer,
        rows: chunk,
        windows: windows(1),
        weights: None,
        out: quote!(out),
        to: of_chunk(Conv::interior(node.tensor), c_row),
        residual,
        fast,
        next: next(prefetched_with_two_ports(context.isa.lanes(), macs, weights)),
        team,
    };
    let calls = calls.code(&mut kernels);
    let work = if count == 1 { quote!(#dots #calls) } else { quote!(for chunk in #chunks { #dots #calls }) };
    (quote!(#parts #out #flag #clear #work), kernels)
}

/// Returns the range of `count` chunks for one thread, and the team that shares the panels of each chunk. A chunk
/// belongs to one thread if that balances the load.
fn share_of_chunks(team: Team, count: usize) -> (TokenStream, Team) {
    if is_balanced(count, team.0) { (team.share(count), Team::ONE) } else { (Team::ONE.share(count), team) }
}

/// Returns the code of a depthwise convolution: rows of outputs, over all channels.
fn depthwise(
    context: &Context<'_>,
    packs: &PackPlan,
    id: NodeId,
    op: &DepthwiseConv2d,
    input: &Node,
) -> (TokenStream, Vec<Kernel>) {
    let node = context.graph.node(id);
    let (Some(Tile::Depthwise(tile)), Some(layer)) = (node.tile, packs.layer((id, 0))) else {
        return (quote!(), Vec::new());
    };
    let (from, to) = (input.tensor, node.tensor);
    let kernel = Depthwise {
        isa: context.isa,
        kernel: op.window.kernel,
        stride: op.window.stride,
        rows: tile.rows,
        cols: to.shape.width,
        tile: tile.cols,
        a_pixel: from.layout.pixel_stride(),
        c_pixel: to.layout.pixel_stride(),
        c_row: to.layout.row_stride(to.shape),
        vectors: to.layout.group / context.isa.lanes(),
        epilogue: op.epilogue,
        output: to.element,
    };
    let parts = areas(&[value("x", input), value("out", node)]);
    let row = from.layout.row_stride(from.shape);
    let (x_step, c_step) = (lit(tile.rows * op.window.stride[0] * row), lit(tile.rows * kernel.c_row));
    let rows = (0..kernel.input_rows()).map(|y| {
        let at = lit(y * row);
        quote!(rt::src(x, rows * #x_step + #at))
    });
    let (at, count) = (lit(layer.at[0]), context.team.share(to.shape.height / tile.rows));
    let kernel = kernel.kernel();
    let ident = kernel.ident();
    let body = quote! {
        #parts
        for rows in #count {
            #ident([#(#rows),*], w.at(#at), rt::dst(out, rows * #c_step));
        }
    };
    (body, vec![kernel])
}

/// Returns the code of an elementwise operation. It works in place unless the input has a later reader or another type.
fn elementwise(
    context: &Context<'_>,
    node: &Node,
    input: &Node,
    op: Option<Activation>,
    residual: Option<&Node>,
) -> (TokenStream, Vec<Kernel>) {
    let apart = place(input) != place(node);
    let mut values = vec![value("out", node)];
    values.extend(apart.then(|| value("x", input)));
    values.extend(residual.map(|residual| value("residual", residual)));
    let parts = areas(&values);
    let output = node.tensor.element;
    let lanes = context.isa.lanes();
    let mut kernels = Vec::new();
    let calls = context.team.parts(node.tensor.elements().div_ceil(lanes), |first, vectors| {
        let at = first(lanes);
        let x = apart.then(|| quote!(rt::src(x, #at),));
        let argument = residual.map(|_| quote!(, rt::src(residual, #at)));
        let residual = residual.map_or(output, |residual| residual.tensor.element);
        let input = apart.then_some(input.tensor.element);
        let kernel = Elementwise { isa: context.isa, op, vectors, input, output, residual }.kernel();
        let ident = kernel.ident();
        kernels.push(kernel);
        quote!(#ident(#x rt::dst(out, #at) #argument);)
    });
    (quote!(#parts #calls), kernels)
}

fn pool(context: &Context<'_>, node: &Node, input: &Node) -> (TokenStream, Vec<Kernel>) {
    let Shape { channels, .. } = node.tensor.shape;
    let pixels = input.tensor.shape.pixels();
    let (isa, a_pixel, lanes) = (context.isa, input.tensor.layout.pixel_stride(), context.isa.lanes());
    let mut kernels = Vec::new();
    let mut call = |at: &TokenStream, channels: usize| {
        let kernel = Pool { isa, pixels, channels, a_pixel }.kernel();
        let ident = kernel.ident();
        kernels.push(kernel);
        quote!(#ident(rt::src(x, #at), rt::dst(out, #at));)
    };
    let calls = if context.team.are_many() {
        let (vectors, rest) = (channels / lanes, channels % lanes);
        let main = context.team.parts(vectors, |first, vectors| call(&first(lanes), vectors * lanes));
        let tail = (rest > 0).then(|| {
            let (at, range) = (lit(vectors * lanes), context.team.share(1));
            let call = call(&quote!(#at), rest);
            quote!(for _ in #range { #call })
        });
        quote!(#main #tail)
    } else {
        call(&quote!(0), channels)
    };
    let parts = areas(&[value("x", input), value("out", node)]);
    (quote!(#parts #calls), kernels)
}

/// Returns the value of a node, under its name in the code of a layer.
fn value<'a>(name: &'a str, node: &Node) -> Area<'a> {
    (name, place(node), node.tensor.element)
}

/// Returns the code that copies rows into a value with a border, and clears the border.
fn repack(context: &Context<'_>, node: &Node, input: &Node) -> (TokenStream, Vec<Kernel>) {
    let Tensor { shape, layout, .. } = node.tensor;
    let stored = context.team.share(layout.stored_rows(shape));
    let [top, end, stride, left] = [
        layout.border.top,
        layout.border.top + shape.height,
        layout.row_stride(shape),
        layout.border.left * layout.group,
    ]
    .map(lit);
    let floats = lit(shape.width * shape.channels);
    let (values, copy) = if matches!(input.op, Op::Input) {
        (vec![value("out", node)], quote!(rt::image_row::<#floats>(image, row - #top, to.at(#left));))
    } else {
        let (width, channels, group) = (lit(shape.width), lit(shape.channels), lit(layout.group));
        let from = quote!(x.at((row - #top) * #floats));
        let copy = quote!(rt::copy_pixels::<#width, #channels, #group>(#from, to.at(#left), #channels););
        (vec![value("out", node), value("x", input)], copy)
    };
    let parts = areas(&values);
    let body = quote! {
        #parts
        for row in #stored {
            let to = out.at(row * #stride);
            to.clear(0..#stride);
            if (#top..#end).contains(&row) { #copy }
        }
    };
    (body, Vec::new())
}

/// Zeroes the border of a value that is written in place.
fn clear_border(team: Team, tensor: Tensor) -> TokenStream {
    let Tensor { shape, layout, .. } = tensor;
    let border = layout.border;
    if layout.elements(shape) == layout.group * shape.pixels() {
        return quote!();
    }
    let stride = layout.row_stride(shape);
    let (top, image) = (border.top * stride, shape.height * stride);
    let [stride_lit, left, right] = [stride, border.left * layout.group, border.right * layout.group].map(lit);
    let [top, below, end] = [top, top + image, top + image + border.bottom * stride].map(lit);
    let (rows, once) = (team.share(shape.height), team.share(1));
    quote! {
        for row in #rows {
            rt::clear_sides::<1, #stride_lit, #left, #right>(out.at(#top + row * #stride_lit));
        }
        for _ in #once {
            out.clear(0..#top);
            out.clear(#below..#end);
        }
    }
}
