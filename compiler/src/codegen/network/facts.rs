//! Static facts about a network, and its requirements on weights.

use std::collections::BTreeMap;

use mbvc_runtime::{Conventions, Dtype, Parameter};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::codegen::isa::IsaTokens;
use crate::codegen::tokens::lit;
use crate::codegen::{Naming, Program};
use crate::ir::{ElementType, Graph, Op, Origin, Shape};
use crate::spec::NetworkSpec;

/// Returns the static facts.
pub fn info(spec: &NetworkSpec, programs: &[Program], naming: &Naming) -> TokenStream {
    let name = naming.name.to_string();
    let [height, width] = spec.resolution.map(lit);
    let channels = lit(spec.input.channels());
    let (classes, threads) = (lit(spec.classes), lit(spec.threads));
    let bytes = programs.iter().map(|program| program.scratch_bytes).max().unwrap_or(0);
    let scratch = lit(bytes.next_multiple_of(64));
    let embedding = lit(programs.first().map_or(0, |program| program.embedding.len()));
    let (fusion, numerics) = (spec.fusion.name(), format_ident!("{}", format!("{:?}", spec.effective_numerics())));
    let Conventions { activation, dense_activation, padding, precision, .. } = conventions(spec);
    let dense_activation = match dense_activation.map(|activation| format_ident!("{activation:?}")) {
        Some(activation) => quote!(::core::option::Option::Some(rt::Activation::#activation)),
        None => quote!(::core::option::Option::None),
    };
    let [activation, padding, precision] =
        [format!("{activation:?}"), format!("{padding:?}"), format!("{precision:?}")]
            .map(|name| format_ident!("{name}"));
    let isas = programs.iter().map(|program| program.isa.variant());
    let graph = programs.first().map(|program| &program.graph);
    let parameters = graph.map(parameters).unwrap_or_default().into_iter().map(parameter);
    let layers = graph.map(layers).unwrap_or_default();
    let steps = programs.first().into_iter().flat_map(|program| &program.steps).map(|step| {
        let (name, output) = (&step.title, dims(step.output.shape));
        let stages = step.stages.iter().map(|stage| {
            let (name, macs, bytes) = (&stage.name, lit(stage.macs), lit(stage.bytes));
            quote!(rt::Stage { name: #name, macs: #macs, bytes: #bytes })
        });
        quote!(rt::Step { name: #name, output: #output, stages: &[#(#stages),*] })
    });
    quote! {
        static INFO: rt::NetworkInfo = rt::NetworkInfo {
            name: #name,
            input: [#height, #width, #channels],
            classes: #classes,
            embedding: #embedding,
            fusion: #fusion,
            scratch_bytes: #scratch,
            threads: #threads,
            conventions: rt::Conventions {
                activation: rt::Activation::#activation,
                dense_activation: #dense_activation,
                padding: rt::Padding::#padding,
                precision: rt::Precision::#precision,
                classes: #classes,
            },
            numerics: rt::Numerics::#numerics,
            isas: &[#(rt::Isa::#isas),*],
            parameters: &[#(#parameters),*],
            layers: &[#layers],
            steps: &[#(#steps),*],
        };
    }
}

fn dims(shape: Shape) -> TokenStream {
    let [height, width, channels] = [shape.height, shape.width, shape.channels].map(lit);
    quote!([#height, #width, #channels])
}

/// Returns the conventions that weights of the network must match.
pub fn conventions(spec: &NetworkSpec) -> Conventions {
    let NetworkSpec { activation, padding, precision, classes, .. } = *spec;
    let dense_activation = (!spec.head.dense.is_empty()).then_some(spec.head.dense_activation);
    Conventions { activation, dense_activation, padding, precision, classes }
}

/// Returns the folded parameters that operations read, in order of execution.
pub fn parameters(graph: &Graph) -> Vec<Parameter<'_>> {
    let parameters = graph.used_params().into_iter().map(|id| graph.param(id));
    let dtype = |element| match element {
        // Weights files have no bf16.
        ElementType::F32 | ElementType::Bf16 => Dtype::F32,
        ElementType::I8 => Dtype::I8,
        ElementType::U8 => Dtype::U8,
        ElementType::I32 => Dtype::I32,
    };
    parameters.map(|p| Parameter { name: &p.name, dtype: dtype(p.element), shape: &p.shape }).collect()
}

fn parameter(parameter: Parameter<'_>) -> TokenStream {
    let Parameter { name, dtype, shape } = parameter;
    let (dtype, shape) = (format_ident!("{dtype:?}"), shape.iter().map(|dim| lit(*dim)));
    quote!(rt::Parameter { name: #name, dtype: rt::Dtype::#dtype, shape: &[#(#shape),*] })
}

/// Returns every operation, including those inside fused nodes.
fn operations(graph: &Graph) -> Vec<(&Origin, &Op, Shape)> {
    let nodes = graph.order().unwrap_or_default().into_iter().map(|id| graph.node(id));
    nodes
        .flat_map(|node| match &node.op {
            Op::Fused(fused) => fused.stages.iter().map(|s| (&s.origin, &s.op, s.tensor.shape)).collect(),
            op => vec![(&node.origin, op, node.tensor.shape)],
        })
        .collect()
}

/// Returns the rows of the layer table, by number.
fn layers(graph: &Graph) -> TokenStream {
    let layers: BTreeMap<usize, _> = operations(graph)
        .into_iter()
        .filter_map(|(origin, op, shape)| {
            let weight = match op {
                Op::Conv2d(conv) => conv.weight,
                Op::DepthwiseConv2d(conv) => conv.weight,
                Op::Dense(dense) => dense.weight,
                _ => return None,
            };
            let shape = op.epilogue().unpooled(shape);
            let macs = shape.pixels() * graph.param(weight).shape.iter().product::<usize>();
            Some((origin.layer?, (origin, shape, macs)))
        })
        .collect();
    let rows = layers.iter().map(|(number, (origin, shape, macs))| {
        let (name, output) = (&origin.name, dims(*shape));
        let [number, step, line, macs] = [*number, origin.step, origin.line, *macs].map(lit);
        quote!(rt::Layer { number: #number, name: #name, step: #step, line: #line, output: #output, macs: #macs })
    });
    quote!(#(#rows),*)
}
