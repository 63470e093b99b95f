//! Head and classifier: products over whole values.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::block::product_calls;
use super::cost::QUAD;
use super::kernel::{Ending, Finish, Product};
use super::plan::Plan;
use crate::codegen::kernel::{Kernel, lit};
use crate::codegen::step::{Code, Context, note, parts_of, place};
use crate::ir::{NodeId, Tile};

/// The statements of node `id`, stage `stage` of step `step`.
pub fn statements(context: &Context<'_>, plan: &Plan, id: NodeId, step: usize, stage: usize) -> Code {
    let (graph, isa) = (context.graph, context.isa);
    let node = graph.node(id);
    let (Some(layer), Some(Tile::Gemm(tile)), Some(input)) =
        (plan.layer((id, 0)), node.tile, graph.inputs(id).first().map(|input| graph.node(*input)))
    else {
        return Code::default();
    };
    let epilogue = node.op.epilogue();
    let shape = epilogue.unpooled(node.tensor.shape);
    let (channels, k) = (shape.channels, input.tensor.shape.channels);
    let logits = node.place.is_none();
    let (mut names, mut places) = (vec!["x"], vec![place(input)]);
    if !logits {
        names.push("out");
        places.push(place(node));
    }
    if let Some(workspace) = node.workspace {
        names.push("sums");
        places.push(workspace);
    }
    let parts = parts_of(&names, &places, 1);
    let out = logits.then(|| quote!(let out = logits;));
    let pools = epilogue.pool.is_some();
    let (to, size) = if pools { (quote!(sums), 4) } else { (quote!(out), 1) };
    let header = lit(layer.header);
    let size = lit(size);
    let calls = |finish: Finish, kernels: &mut Vec<Kernel>| -> TokenStream {
        let calls = layer.panels.iter().map(|panels| {
            let base = Product {
                isa,
                k: k.div_ceil(QUAD),
                pixels: shape.pixels(),
                a_pixel: k,
                a_quad: QUAD,
                c_pixel: channels,
                mr: tile.mr,
                half: panels.half,
                nv: panels.vectors,
                last: 0,
                finish,
                ending: if pools { Ending::Pool } else { Ending::Store },
            };
            product_calls(&base, panels, kernels, &|kernel: &Ident, weights, channel| {
                quote!(#kernel(rt::src(x, 0), w.at(#weights), w.at(#header), rt::dst(#to, (#channel) * #size));)
            })
        });
        quote!(#(#calls)*)
    };
    let mut kernels = Vec::new();
    let work = match epilogue.activation.is_some() && isa.has_biased_sums() {
        true => {
            let (general, biased) = (calls(Finish::General, &mut kernels), calls(Finish::Biased, &mut kernels));
            quote!(if rt::quantised::is_general(w, #header) { #general } else { #biased })
        }
        false => calls(Finish::General, &mut kernels),
    };
    let average = pools.then(|| {
        let (pixels, channels) = (lit(shape.pixels()), lit(channels));
        quote!(rt::quantised::average::<#pixels, #channels>(PLAN, w.at(#header), sums, out);)
    });
    let (note, step, stage) = (note(node), lit(step), lit(stage));
    let statements = quote! {
        {
            rt::note!(#note);
            #parts
            #out
            #work
            #average
        }
        observer.stage(#step, #stage);
    };
    Code { statements, kernels }
}
