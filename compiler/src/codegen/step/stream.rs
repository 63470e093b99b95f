//! What streamed blocks of both number types share: the stages of a fused node, their memory, notes and observers.

use proc_macro2::TokenStream;
use quote::quote;

use super::context::{Context, note_of, place};
use crate::codegen::tokens::lit;
use crate::ir::{Fused, Node, NodeId, Op, Place, Stage, Window};

/// The parts of a streamed inverted residual block; `P` holds what a number type adds, such as packed layers.
pub struct Stream<'g, P> {
    pub context: &'g Context<'g>,
    pub input: &'g Node,
    /// The node whose value the block computes.
    pub node: &'g Node,
    /// Output rows of a tile.
    pub rows: usize,
    /// The stages that fill the ring; a ring of image rows before the stem comes first.
    pub producers: &'g [Stage],
    /// The last producer, whose value is the ring that the depthwise convolution reads.
    pub ring: &'g Stage,
    pub depthwise: &'g Stage,
    /// That of the depthwise convolution.
    pub window: Window,
    pub project: &'g Stage,
    pub step: usize,
    /// Index of the first stage in its step.
    pub first_stage: usize,
    pub packed: P,
}

impl<'g> Stream<'g, ()> {
    /// The parts of the fused node `id`; `None` if its stages are not those of an inverted residual block.
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

    /// The block with what its number type adds.
    pub fn with<P>(self, packed: P) -> Stream<'g, P> {
        let Self { context, input, node, rows, producers, ring, depthwise, window, project, step, first_stage, .. } =
            self;
        Stream { context, input, node, rows, producers, ring, depthwise, window, project, step, first_stage, packed }
    }
}

impl<'g, P> Stream<'g, P> {
    /// A comment for each stage.
    pub fn notes(&self) -> TokenStream {
        let notes = self.producers.iter().chain([self.depthwise, self.project]).map(|stage| {
            let text = note_of(&stage.origin, &stage.op, stage.tensor);
            quote!(rt::note!(#text);)
        });
        quote!(#(#notes)*)
    }

    /// Names and places of the memory that every block works in.
    pub fn memory(&self) -> (Vec<&'static str>, Vec<Place>) {
        let mut names = vec!["out", "ring", "spatial"];
        let mut places = vec![place(self.node), stage_place(self.ring), stage_place(self.depthwise)];
        if let Some(rows) = self.image_rows() {
            names.push("rows");
            places.push(stage_place(rows));
        }
        if !matches!(self.input.op, Op::Input) {
            names.push("x");
            places.push(place(self.input));
        }
        (names, places)
    }

    /// The ring of image rows before the stem, where the block has one.
    pub fn image_rows(&self) -> Option<&'g Stage> {
        match self.producers {
            [rows, _, ..] => Some(rows),
            _ => None,
        }
    }

    /// Whether one tile is the whole image: its projection follows when all of it is filtered.
    pub fn is_whole(&self) -> bool {
        self.rows == self.node.tensor.shape.height
    }

    /// Channel groups of the ring.
    pub fn groups(&self) -> usize {
        self.ring.tensor.layout.groups(self.ring.tensor.shape)
    }

    /// Reports to the observer that `stage` of the block did a part of its work.
    pub fn observe(&self, stage: usize) -> TokenStream {
        let (step, stage) = (lit(self.step), lit(self.first_stage + stage));
        quote!(observer.stage(#step, #stage);)
    }

    /// Reports producer, depthwise convolution and projection, in this order.
    pub fn observers(&self) -> [TokenStream; 3] {
        let producer = self.producers.len() - 1;
        [producer, producer + 1, producer + 2].map(|stage| self.observe(stage))
    }
}

fn stage_place(stage: &Stage) -> Place {
    stage.place.unwrap_or(Place::NONE)
}
