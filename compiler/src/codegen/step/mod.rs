//! Steps: functions that call kernels in order, and pass their memory to them.

mod context;
mod stream;
mod team;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::isa::IsaTokens;
use super::kernel::Kernel;
use super::tokens::lit;
use crate::ir::{ElementType, Graph, NodeId, Op, Tensor};
pub use context::{Backend, Code, Context, LayerKey, RuntimePlan, note, place};
pub use stream::Stream;
pub use team::{Team, by_size, parts, parts_of};

/// A generated step function.
pub struct StepFn {
    /// Name of the function: `step_0_stem_block1`.
    pub name: String,
    /// Name in profiles: `stem+block1`.
    pub title: String,
    pub item: TokenStream,
    pub kernels: Vec<Kernel>,
    /// Whether the step reads the image, or writes the logits.
    pub reads_image: bool,
    pub writes_logits: bool,
    /// The step's last value, which `run_with` passes to the observer.
    pub output: Tensor,
    /// Stages of the step, in order.
    pub stages: Vec<StageInfo>,
}

/// Profile entry of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInfo {
    pub name: String,
    pub macs: usize,
    /// Minimum bytes read and written: input, output and weights.
    pub bytes: usize,
    /// Predicted instruction count, or `None` if there is no cost model.
    pub instructions: Option<u64>,
}

/// Generates the function of the step that consists of `nodes`.
pub fn step(context: &Context<'_>, index: usize, name: &str, nodes: &[NodeId]) -> StepFn {
    let (graph, isa) = (context.graph, context.isa);
    let mut code = Code::default();
    let mut stages: Vec<StageInfo> = Vec::new();
    for id in nodes {
        let part = match &graph.node(*id).op {
            Op::Input => continue,
            Op::Fused(_) => context.backend.block(context, *id, index, stages.len()),
            _ => context.backend.layer(context, *id, index, stages.len()),
        };
        stages.extend(stage_infos(context, *id));
        code.statements.extend(part.statements);
        code.statements.extend(context.team.wait());
        code.kernels.extend(part.kernels);
    }
    let last = nodes.last().map(|id| graph.node(*id));
    let output = last.map_or_else(|| Tensor::nhwc(crate::ir::Shape::new(0, 0, 0)), |node| node.tensor);
    let reads_image =
        nodes.iter().any(|id| graph.inputs(*id).iter().any(|input| matches!(graph.node(*input).op, Op::Input)));
    let writes_logits = last.is_some_and(|node| node.place.is_none());
    let element = output.element.bytes();
    let shown = match last.and_then(|node| node.place) {
        Some(place) => {
            let from = place.offset / element;
            let [from, to] = [from, from + output.shape.elements()].map(lit);
            let bf16 = (output.element == ElementType::Bf16).then(|| quote!(.bf16()));
            quote!(scratch #bf16 .read(#from..#to))
        }
        None => {
            let classes = lit(output.shape.elements());
            quote!(logits.read(0..#classes))
        }
    };
    let function = format!("step_{index}_{}", name.replace('+', "_"));
    let doc = format!(" Step {index}, {name}: {} values.", output.shape);
    let (ident, feature, index) = (format_ident!("{function}"), isa.target_feature(), lit(index));
    let image = if output.element.is_quantized() { quote!(rt::quantized::Quantized) } else { quote!(rt::Image) };
    let show = match output.element {
        ElementType::Bf16 => quote!(bf16),
        element if element.is_quantized() => quote!(bytes),
        _ => quote!(step),
    };
    let image_type = reads_image.then(|| quote!(I: #image,));
    let (team_type, team) = (context.team.many(quote!(T: rt::Team,)), context.team.many(quote!(team: T,)));
    let image = reads_image.then(|| quote!(image: &I,));
    let logits = writes_logits.then(|| quote!(logits: Area<'_>,));
    let statements = code.statements;
    let item = quote! {
        #[doc = #doc]
        #feature
        fn #ident<#team_type #image_type O: rt::Observer>(
            #team w: Src<'_>, scratch: Area<'_>, #image #logits observer: &mut O,
        ) {
            #statements
            observer.#show(#index, #shown);
        }
    };
    StepFn {
        name: function,
        title: name.to_owned(),
        item,
        kernels: code.kernels,
        reads_image,
        writes_logits,
        output,
        stages,
    }
}

/// Returns the profile entries of a node's stages.
fn stage_infos(context: &Context<'_>, id: NodeId) -> Vec<StageInfo> {
    let graph = context.graph;
    let node = graph.node(id);
    let input = graph.inputs(id).first().map(|input| graph.node(*input).tensor);
    let info = |name: &str, op: &Op, input: Tensor, output: Tensor| {
        let (macs, weights) = work(graph, op, output);
        let values = [input, output].map(|value| value.shape.elements() * value.element.bytes());
        let weight = match op.factors().round_weights() {
            true => ElementType::Bf16.bytes(),
            false => output.element.bytes(),
        };
        let bytes = values.iter().sum::<usize>() + weights * weight;
        StageInfo { name: name.to_owned(), macs, bytes, instructions: None }
    };
    let mut infos: Vec<_> = match (&node.op, input) {
        (Op::Fused(fused), Some(mut input)) => fused
            .stages
            .iter()
            .map(|stage| {
                let info = info(&stage.origin.name, &stage.op, input, stage.tensor);
                input = stage.tensor;
                info
            })
            .collect(),
        (op, Some(input)) => vec![info(&node.origin.name, op, input, node.tensor)],
        _ => Vec::new(),
    };
    let predicted = context.predictor.and_then(|predictor| predictor.stages(id)).unwrap_or_default();
    debug_assert!(predicted.is_empty() || predicted.len() == infos.len(), "one prediction per stage");
    for (info, instructions) in infos.iter_mut().zip(predicted) {
        info.instructions = Some(instructions);
    }
    infos
}

/// Returns the multiply-adds of an operation, and the elements of its parameters.
fn work(graph: &Graph, op: &Op, output: Tensor) -> (usize, usize) {
    let elements = |param| graph.param(param).shape.iter().product::<usize>();
    let (pixels, channels) = (op.epilogue().unpooled(output.shape).pixels(), output.shape.channels);
    match op {
        Op::Conv2d(conv) => (pixels * elements(conv.weight), elements(conv.weight) + channels),
        Op::DepthwiseConv2d(conv) => (pixels * elements(conv.weight), elements(conv.weight) + channels),
        Op::Dense(dense) => (elements(dense.weight), elements(dense.weight) + channels),
        _ => (0, 0),
    }
}
