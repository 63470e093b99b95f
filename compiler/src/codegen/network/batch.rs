//! The batched classifier, which reads its weights once for several images.
//!
//! It is generated from the graph's classifier. The feature vectors of the images, gathered in a workspace, are the
//! pixels of one row.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::codegen::step::{self, Context, StepFn};
use crate::codegen::tokens::lit;
use crate::ir::{NodeId, Op, Tile};

pub struct Batch {
    pub step: StepFn,
    /// Offset of the gathered feature vectors in floats of the scratch, and the stride from one to the next.
    pub features: usize,
    pub stride: usize,
}

impl Batch {
    /// Returns `None` if the classifier processes each image by itself.
    pub fn new(context: &Context<'_>, order: &[NodeId]) -> Option<Self> {
        let graph = context.graph;
        let id = order.iter().copied().find(|id| matches!(graph.node(*id).op, Op::Dense(_)))?;
        let (node, input) = (graph.node(id), *graph.inputs(id).first()?);
        let Some(Tile::Gemm(tile)) = node.tile.filter(|_| node.gathers()) else { return None };
        let gathered = node.workspace?;
        let mut row = graph.clone();
        row.node_mut(input).place = Some(gathered);
        for id in [input, id] {
            row.node_mut(id).tensor.shape.width = tile.images;
        }
        let name = format!("{}_batch", node.origin.name);
        let step = step::step(&Context { graph: &row, predictor: None, ..*context }, node.origin.step, &name, &[id]);
        let stride = graph.node(input).tensor.layout.pixel_stride();
        Some(Self { step, features: gathered.offset / size_of::<f32>(), stride })
    }
}

/// Returns `run_batch` and `run_batch_pixels` of a network whose classifier processes `batch` images together.
pub fn methods(batch: usize, [lines, input, classes]: [&Literal; 3]) -> TokenStream {
    let groups = (batch > 1).then(|| {
        let batch = lit(batch);
        quote! {
            let (groups, logits) = logits.as_chunks_mut::<#batch>();
            for group in groups {
                for (at, image) in images.by_ref().take(#batch).enumerate() {
                    self.dispatch(scratch, &image, rt::Output::Feature(at), &mut rt::Unobserved);
                }
                let together = rt::Output::Batch(group.as_flattened_mut());
                self.dispatch(scratch, &&[0.0_f32; 0][..], together, &mut rt::Unobserved);
            }
        }
    });
    let batch = lit(batch);
    quote! {
        /// Images of a batch that share one pass over the classifier's weights.
        pub const BATCH: usize = #batch;

        /// Runs the network on each of `inputs`, with the results of `run`. Allocates nothing.
        ///
        /// # Errors
        /// If `logits` and the images differ in number.
        pub fn run_batch(
            &self, scratch: &mut rt::Scratch<#lines>, inputs: &[impl ::core::borrow::Borrow<[f32; #input]>],
            logits: &mut [[f32; #classes]],
        ) -> ::core::result::Result<(), rt::LengthError> {
            rt::LengthError::check("logits", inputs.len(), logits.len())?;
            self.batch(scratch.elements_mut::<f32>(), inputs.iter().map(|input| &input.borrow()[..]), logits);
            ::core::result::Result::Ok(())
        }

        /// Runs the network on each of `images`, with the results of `run_pixels`. Allocates nothing.
        ///
        /// # Errors
        /// If `logits` and the images differ in number.
        pub fn run_batch_pixels(
            &self, scratch: &mut rt::Scratch<#lines>, images: &[impl ::core::borrow::Borrow<[u8; #input]>],
            logits: &mut [[f32; #classes]],
        ) -> ::core::result::Result<(), rt::LengthError> {
            rt::LengthError::check("logits", images.len(), logits.len())?;
            let images = images.iter().map(|image| self.0.pixels(&image.borrow()[..]));
            self.batch(scratch.elements_mut::<f32>(), images, logits);
            ::core::result::Result::Ok(())
        }

        fn batch<I: rt::Image>(
            &self, scratch: &mut [f32], mut images: impl ::core::iter::Iterator<Item = I>, logits: &mut [[f32; #classes]],
        ) {
            #groups
            for (image, logits) in images.zip(logits) {
                let logits = rt::Output::Logits(&mut logits[..]);
                self.dispatch(scratch, &image, logits, &mut rt::Unobserved);
            }
        }
    }
}
