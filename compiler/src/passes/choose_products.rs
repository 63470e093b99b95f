//! Chooses the inner product of each convolution (plain, fast or block) for one instruction set.
//!
//! ```text
//! before: conv2d 1x1 : 28x28x192            after: conv2d 1x1 fast : 28x28x192
//! ```
//!
//! The inner products round differently. The choice depends only on the layer, the numerics and the instruction set. The
//! results are therefore bit-identical for every thread count, batch size and fusion level. The pass runs before
//! layouts and tiles, which depend on the choice. Whether the weights allow the fast product is decided later, when
//! they are packed.
//!
//! Quantized values are exact with every product. The expansions of their fused blocks and the head use the fast one
//! where it takes fewer instructions. Instruction sets that multiply pairs of 16-bit numbers gather them for all products
//! that read pixels, the stem of a fused block included.
//!
//! Postcondition: every convolution has its [`Product`].

use crate::ir::{Factors, Graph, NodeId, Op, Product, Stage, Tensor};
use crate::schedule::blocks::depth;
use crate::schedule::float::fast_pays;
use crate::spec::Numerics;
use crate::target::{DotForm, Isa, IsaFacts};

/// Sets the [`Product`] of every convolution. See the module documentation.
pub fn choose_products(graph: &mut Graph, numerics: Numerics, isa: Isa) {
    let ids: Vec<_> = graph.ids().collect();
    for id in ids {
        let Some(input) = graph.inputs(id).first().map(|input| graph.node(*input).tensor) else { continue };
        let filters = |id: &NodeId| matches!(graph.node(*id).op, Op::DepthwiseConv2d(_));
        let in_block = graph.inputs(id).iter().chain(&graph.readers(id)).any(filters);
        let node = graph.node_mut(id);
        let output = node.tensor;
        match &mut node.op {
            Op::Fused(fused) => {
                let mut input = input;
                for stage in &mut fused.stages {
                    choose(&mut stage.op, input, stage.tensor, numerics, isa);
                    input = stage.tensor;
                }
                if let [Stage { op, .. }, Stage { op: Op::DepthwiseConv2d(_), .. }, ..] = &mut *fused.stages
                    && output.element.is_quantized()
                {
                    choose_of_bytes(op, isa, isa.multiplies_pairs());
                }
            }
            op => {
                choose(op, input, output, numerics, isa);
                if !in_block && output.element.is_quantized() {
                    choose_of_bytes(op, isa, false);
                }
            }
        }
    }
}

/// Chooses the product of a quantized convolution that reads pixels, or `windows` of them.
fn choose_of_bytes(op: &mut Op, isa: Isa, windows: bool) {
    let Op::Conv2d(conv) = op else { return };
    match isa.pixel_form() {
        DotForm::CrossedWords if conv.window.is_point() => conv.product = Product::Fast,
        DotForm::Pairs if conv.window.is_point() || windows => conv.product = Product::Pairs,
        _ => {}
    }
}

fn choose(op: &mut Op, input: Tensor, output: Tensor, numerics: Numerics, isa: Isa) {
    let Op::Conv2d(conv) = op else { return };
    let [kh, kw] = conv.window.kernel;
    let exact = !output.element.is_quantized() && conv.factors == Factors::Exact;
    let allowed = numerics == Numerics::Fast && isa.has_fast_product() && exact;
    let k = kh * kw * input.shape.channels;
    let blocks = isa.has_block_products() && conv.factors == Factors::Bf16 && conv.window.is_point();
    conv.product = if let Some(depth) = depth(k).filter(|_| blocks) {
        Product::Blocks { depth }
    } else if allowed && fast_pays(isa, k, output.shape.channels) {
        Product::Fast
    } else {
        Product::Plain
    };
}
