//! The operations of an unfused block: the producer of row quads, and the depthwise convolution that reads them. Each
//! runs over its whole value with the kernels of streamed blocks. The projection is an ordinary product over a whole
//! value.

use quote::quote;

use super::phase::PhaseLoop;
use super::{Block, Packed};
use crate::codegen::quantized::pack::Plan;
use crate::codegen::step::{Code, Context, Team, note, parts_of, place};
use crate::codegen::tokens::{lit, repeat};
use crate::ir::{NodeId, Op, Order, Stage};
use crate::schedule::phases::{Phase, phases};
use crate::schedule::quantized::shares_groups;

/// Returns the statements of node `id`, stage `stage` of step `step`: a depthwise convolution, or the producer of its
/// input.
pub fn statements(context: &Context<'_>, plan: &Plan, id: NodeId, step: usize, stage: usize) -> Code {
    let graph = context.graph;
    let node = graph.node(id);
    let filters = matches!(node.op, Op::DepthwiseConv2d(_));
    let reader = |id: NodeId| graph.readers(id).first().copied();
    let source = |id: NodeId| graph.inputs(id).first().copied();
    let Some(depthwise) = (if filters { Some(id) } else { reader(id) }) else { return Code::default() };
    let (Some(producer), Some(project)) = (source(depthwise), reader(depthwise)) else { return Code::default() };
    let (Some(input), Some(window)) = (source(producer), graph.node(depthwise).op.window()) else {
        return Code::default();
    };
    let Some(packed) = Packed::new(plan, [producer, depthwise, project].map(|id| (id, 0))) else {
        return Code::default();
    };
    let [ring, filtered, projected] = [producer, depthwise, project].map(|id| Stage::of(graph.node(id)));
    let block = Block {
        context,
        input: graph.node(input),
        node: graph.node(project),
        rows: projected.tensor.shape.height,
        producers: std::slice::from_ref(&ring),
        ring: &ring,
        depthwise: &filtered,
        window,
        project: &projected,
        step,
        first_stage: stage,
        packed,
    };
    let [read, written] =
        if filters { [producer, depthwise] } else { [input, producer] }.map(|id| place(graph.node(id)));
    let names = if filters { ["ring", "spatial"] } else { ["x", "ring"] };
    let (parts, general) = (parts_of(&names, &[read, written], 1), block.general());
    let mut kernels = Vec::new();
    let phases = phases(window, ring.tensor.shape.height, filtered.tensor.shape.height);
    // The threads share the channel groups or the row quads. Without pixel quads, the last store of a row overlaps the
    // next row, so one thread stores all rows of a group.
    let groups = block.groups();
    let in_order = filters && !matches!(filtered.tensor.layout.order, Order::PixelQuads { .. });
    let by_groups = shares_groups(groups, in_order, context.team.0);
    let team = if by_groups { Team::ONE } else { context.team };
    let sides = |phase: &Phase| context.team.many(block.pad_quad(phase));
    let bodies = phases.iter().map(|phase| {
        let body = match filters {
            true => block.depthwise(phase, &mut kernels),
            // The columns left and right of the image belong to the quad, so the thread that fills the quad also pads
            // it.
            false => {
                let (sides, quad) = (sides(phase), block.produce(phase, &mut kernels));
                quote!(#sides #quad)
            }
        };
        phase.repeat(team, body)
    });
    let bodies = quote!(#(#bodies)*);
    let work = match by_groups {
        true => {
            let share = context.team.share(groups);
            quote!(for group in #share { #bodies })
        }
        false => repeat("group", groups, bodies),
    };
    let mine = team.are_many().then(|| {
        let share = team.share(phases.iter().map(|phase| phase.count).sum());
        quote!(let mine = #share;)
    });
    let pad = (!filters && !context.team.are_many()).then(|| block.pad());
    let (note, step, stage) = (note(node), lit(step), lit(stage));
    let statements = quote! {
        {
            rt::note!(#note);
            #parts
            #general
            #pad
            #mine
            #work
        }
        observer.stage(#step, #stage);
    };
    Code { statements, kernels }
}
