//! Operations over whole tensors: everything at fusion levels `none` and `relu6`, head and classifier.

use proc_macro2::TokenStream;
use quote::quote;

use super::panels::{Fast, PanelCalls, dots, wanted, wanted_name};
use super::{Code, Context, parts, place};
use crate::codegen::conv::Conv;
use crate::codegen::kernel::{Depthwise, Elementwise, Kernel, Pool, lit};
use crate::ir::{Activation, DepthwiseConv2d, Node, NodeId, Op, Shape, Tensor, Tile};

/// The statements of node `id`, stage `stage` of step `step`.
pub fn statements(context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code {
    let node = context.graph.node(id);
    let inputs: Vec<&Node> = context.graph.inputs(id).into_iter().map(|input| context.graph.node(input)).collect();
    let (body, kernels) = match (&node.op, &*inputs) {
        (Op::Conv2d(_) | Op::Dense(_), [input, rest @ ..]) => conv(context, id, input, rest.first().copied()),
        (Op::DepthwiseConv2d(op), [input]) => depthwise(context, id, op, input),
        (Op::Activation(op), [input]) => elementwise(context, node, input, Some(*op), None),
        (Op::Add, [input, residual]) => elementwise(context, node, input, None, Some(residual)),
        (Op::GlobalAvgPool, [input]) => pool(context, node, input),
        (Op::Repack, [input]) => repack(node, input),
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

/// What a reader is told about a node.
fn note(node: &Node) -> String {
    match node.origin.layer {
        Some(layer) => {
            format!("layer {layer}, {}: {} (spec line {})", node.origin.name, node.tensor.shape, node.origin.line)
        }
        None => format!("{}: {}", node.origin.name, node.tensor.shape),
    }
}

/// Panels of output channels, over chunks of rows that stay in a near cache.
fn conv(context: &Context<'_>, id: NodeId, input: &Node, residual: Option<&Node>) -> (TokenStream, Vec<Kernel>) {
    let node = context.graph.node(id);
    let (Some(conv), Some(layer)) =
        (Conv::new(context.isa, &node.op, input.tensor, node.tensor, node.tile), context.packs.layer((id, 0)))
    else {
        return (quote!(), Vec::new());
    };
    let mut names = vec!["x"];
    let mut places = vec![place(input)];
    if let Some(residual) = residual {
        names.push("residual");
        places.push(place(residual));
    }
    let logits = node.place.is_none();
    if !logits {
        names.push("out");
        places.push(place(node));
    }
    if let Some(place) = node.workspace {
        names.push("dots");
        places.push(place);
    }
    let parts = parts(&names, &places);
    let out = if logits { quote!(let out = logits;) } else { quote!() };
    let chunk = conv.tile.chunk;
    let chunks = lit(node.tensor.shape.height / chunk);
    let [sh, _] = conv.window.stride;
    let row = input.tensor.layout.row_stride(input.tensor.shape);
    // A windowed convolution starts in the border, a pointwise one at the first pixel.
    let from = if conv.window.is_point() { Conv::interior(input.tensor) } else { 0 };
    let (x_step, c_step) = (lit(chunk * sh * row), lit(chunk * node.tensor.layout.row_stride(node.tensor.shape)));
    let to = lit(Conv::interior(node.tensor));
    let mut kernels = Vec::new();
    let clear = clear_border(node.tensor);
    let windows = |first: TokenStream| {
        let windows = (0..conv.window.kernel[0]).map(|ky| {
            let at = lit(from + ky * row);
            quote!(rt::src(x, #first + #at))
        });
        quote!([#(#windows),*])
    };
    let fast = conv.is_fast().then(|| Fast { wanted: wanted_name("conv"), dots: quote!(rt::src(dots, 0)) });
    let (wanted, dots) = match &fast {
        None => (quote!(), quote!()),
        Some(fast) => {
            // Row by row, since rows may lie apart.
            let (row_step, width, rows) = (lit(sh * row), lit(node.tensor.shape.width), lit(chunk));
            let windows = windows(quote!(chunk * #x_step + row * #row_step));
            let dots = dots(&conv, 1, &windows, &quote!(rt::dst(dots, row * #width)), &mut kernels);
            let name = &fast.wanted;
            (wanted(name, layer), quote!(if #name { for row in 0..#rows { #dots } }))
        }
    };
    let residual = residual.map(|_| (quote!(residual), quote!(chunk * #c_step)));
    let calls = PanelCalls {
        conv: &conv,
        layer,
        rows: chunk,
        windows: windows(quote!(chunk * #x_step)),
        weights: None,
        out: quote!(out),
        to: quote!(chunk * #c_step + #to),
        residual,
        fast,
    };
    let calls = calls.code(&mut kernels);
    (quote! { #parts #out #wanted #clear for chunk in 0..#chunks { #dots #calls } }, kernels)
}

/// Rows of outputs, over all channels.
fn depthwise(context: &Context<'_>, id: NodeId, op: &DepthwiseConv2d, input: &Node) -> (TokenStream, Vec<Kernel>) {
    let node = context.graph.node(id);
    let (Some(Tile::Depthwise(tile)), Some(layer)) = (node.tile, context.packs.layer((id, 0))) else {
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
    };
    let parts = parts(&["x", "out"], &[place(input), place(node)]);
    let row = from.layout.row_stride(from.shape);
    let (x_step, c_step) = (lit(tile.rows * op.window.stride[0] * row), lit(tile.rows * kernel.c_row));
    let rows = (0..kernel.input_rows()).map(|y| {
        let at = lit(y * row);
        quote!(rt::src(x, rows * #x_step + #at))
    });
    let (at, count) = (lit(layer.at[0]), lit(to.shape.height / tile.rows));
    let kernel = kernel.kernel();
    let ident = kernel.ident();
    let body = quote! {
        #parts
        for rows in 0..#count {
            #ident([#(#rows),*], w.at(#at), rt::dst(out, rows * #c_step));
        }
    };
    (body, vec![kernel])
}

/// In place; the value is copied first where someone else still reads the input.
fn elementwise(
    context: &Context<'_>,
    node: &Node,
    input: &Node,
    op: Option<Activation>,
    residual: Option<&Node>,
) -> (TokenStream, Vec<Kernel>) {
    let (from, to) = (place(input), place(node));
    let mut names = vec!["out"];
    let mut places = vec![to];
    let copy = (from != to).then(|| {
        names.push("x");
        places.push(from);
        let floats = lit(node.tensor.elements());
        quote!(out.copy(x, #floats);)
    });
    let argument = residual.map(|residual| {
        names.push("residual");
        places.push(place(residual));
        quote!(, rt::src(residual, 0))
    });
    let parts = parts(&names, &places);
    let vectors = node.tensor.elements().div_ceil(context.isa.lanes());
    let kernel = Elementwise { isa: context.isa, op, vectors }.kernel();
    let ident = kernel.ident();
    (quote! { #parts #copy #ident(rt::dst(out, 0) #argument); }, vec![kernel])
}

fn pool(context: &Context<'_>, node: &Node, input: &Node) -> (TokenStream, Vec<Kernel>) {
    let Shape { channels, .. } = node.tensor.shape;
    let pixels = input.tensor.shape.pixels();
    let kernel = Pool { isa: context.isa, pixels, channels, a_pixel: input.tensor.layout.pixel_stride() }.kernel();
    let ident = kernel.ident();
    let parts = parts(&["x", "out"], &[place(input), place(node)]);
    (quote! { #parts #ident(rt::src(x, 0), rt::dst(out, 0)); }, vec![kernel])
}

/// Copies rows into a value with a border, which is cleared.
fn repack(node: &Node, input: &Node) -> (TokenStream, Vec<Kernel>) {
    let Tensor { shape, layout } = node.tensor;
    let (height, stride, at) = (lit(shape.height), lit(layout.row_stride(shape)), lit(Conv::interior(node.tensor)));
    let (floats, all) = (lit(shape.width * shape.channels), lit(node.tensor.elements()));
    let body = if matches!(input.op, Op::Input) {
        let parts = parts(&["out"], &[place(node)]);
        quote! {
            #parts
            out.clear(0..#all);
            for y in 0..#height { rt::image_row::<#floats>(image, y, out.at(#at + y * #stride)); }
        }
    } else {
        let parts = parts(&["x", "out"], &[place(input), place(node)]);
        let (width, channels, group) = (lit(shape.width), lit(shape.channels), lit(layout.group));
        quote! {
            #parts
            out.clear(0..#all);
            for y in 0..#height {
                rt::copy_pixels::<#width, #channels, #group>(x.at(y * #floats), out.at(#at + y * #stride), #channels);
            }
        }
    };
    (body, Vec::new())
}

/// Zeroes the border of a value that is written in place.
fn clear_border(tensor: Tensor) -> TokenStream {
    let Tensor { shape, layout } = tensor;
    let border = layout.border;
    if layout.elements(shape) == layout.group * shape.pixels() {
        return quote!();
    }
    let stride = layout.row_stride(shape);
    let (top, image) = (border.top * stride, shape.height * stride);
    let [rows, stride, left, right] =
        [shape.height, stride, border.left * layout.group, border.right * layout.group].map(lit);
    let [top, below, end] = [top, top + image, top + image + border.bottom * layout.row_stride(shape)].map(lit);
    quote! {
        out.clear(0..#top);
        rt::clear_sides::<#rows, #stride, #left, #right>(out.at(#top));
        out.clear(#below..#end);
    }
}
