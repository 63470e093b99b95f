//! Parts of streamed blocks that both number types share: the stages of a fused node, their memory, notes and
//! observers.

use proc_macro2::TokenStream;
use quote::quote;

use super::context::{Context, note_of, place};
use crate::codegen::tokens::lit;
use crate::ir::{ElementType, Fused, Node, NodeId, Op, Place, Stage, Window};

/// Parts of a streamed inverted residual block. `P` holds the data of a number type, such as packed layers.
pub struct Stream<'g, P> {
    pub context: &'g Context<'g>,
    pub input: &'g Node,
    /// Node whose value the block computes.
    pub node: &'g Node,
    /// Output rows per tile.
    pub rows: usize,
    /// Stages that fill the ring. A ring of image rows before the stem comes first.
    pub producers: &'g [Stage],
    /// Last producer. Its value is the ring that the depthwise convolution reads.
    pub ring: &'g Stage,
    pub depthwise: &'g Stage,
    /// Window of the depthwise convolution.
    pub window: Window,
    pub project: &'g Stage,
    pub step: usize,
    /// Index of the first stage in its step.
    pub first_stage: usize,
    pub packed: P,
}

impl<'g> Stream<'g, ()> {
    /// Returns the parts of the fused node `id`, or `None` if its stages are not those of an inverted residual block.
    pub fn new(context: &'g Context<'g>, id: NodeId, step: usize, first_stage: usize) -> Option<Self> {
        let graph = context.graph;
        let node = graph.node(id);
        let Op::Fused(Fused { stages, rows }) = &node.op else { return None };
        let [producers @ .., depthwise, project] = &**stages else { return None };
        let input = graph.node(*graph.inputs(id).first()?);
        Some(Self {
            context,
            input,
            node,
            rows: *rows,
            producers,
            ring: producers.last()?,
            depthwise,
            window: depthwise.op.window()?,
            project,
            step,
            first_stage,
            packed: (),
        })
    }

    /// Adds the data of a number type to the block.
    pub fn with<P>(self, packed: P) -> Stream<'g, P> {
        let Self { context, input, node, rows, producers, ring, depthwise, window, project, step, first_stage, .. } =
            self;
        Stream { context, input, node, rows, producers, ring, depthwise, window, project, step, first_stage, packed }
    }
}

impl<'g, P> Stream<'g, P> {
    /// Returns a comment for each stage.
    pub fn notes(&self) -> TokenStream {
        let notes = self.producers.iter().chain([self.depthwise, self.project]).map(|stage| {
            let text = note_of(&stage.origin, &stage.op, stage.tensor);
            quote!(rt::note!(#text);)
        });
        quote!(#(#notes)*)
    }

    /// Returns the names, places and types of the values that every block uses.
    pub fn memory(&self) -> Vec<(&'static str, Place, ElementType)> {
        let node = |name, node: &Node| (name, place(node), node.tensor.element);
        let stage = |name, stage: &Stage| (name, stage_place(stage), stage.tensor.element);
        let mut values = vec![node("out", self.node), stage("ring", self.ring), stage("spatial", self.depthwise)];
        values.extend(self.image_rows().map(|rows| stage("rows", rows)));
        if !matches!(self.input.op, Op::Input) {
            values.push(node("x", self.input));
        }
        values
    }

    /// Returns the ring of image rows before the stem, if the block has one.
    pub fn image_rows(&self) -> Option<&'g Stage> {
        match self.producers {
            [rows, _, ..] => Some(rows),
            _ => None,
        }
    }

    /// Whether one tile is the whole image. Its projection runs after the depthwise convolution of the whole tile.
    pub fn is_whole(&self) -> bool {
        self.rows == self.node.tensor.shape.height
    }

    /// Returns the number of channel groups of the ring.
    pub fn groups(&self) -> usize {
        self.ring.tensor.layout.groups(self.ring.tensor.shape)
    }

    /// Returns a call that reports to the observer that `stage` of the block did a part of its work.
    pub fn observe(&self, stage: usize) -> TokenStream {
        let (step, stage) = (lit(self.step), lit(self.first_stage + stage));
        quote!(observer.stage(#step, #stage);)
    }

    /// Returns the reports of producer, depthwise convolution and projection, in this order.
    pub fn observers(&self) -> [TokenStream; 3] {
        let producer = self.producers.len() - 1;
        [producer, producer + 1, producer + 2].map(|stage| self.observe(stage))
    }
}

fn stage_place(stage: &Stage) -> Place {
    stage.place.unwrap_or(Place::NONE)
}
