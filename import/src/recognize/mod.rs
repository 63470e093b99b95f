//! Matches a source graph to the MobileNetV2 family: stem, inverted residual blocks, head, pool, classifier
//! (Sandler et al. 2018, arXiv:1801.04381, section 3).

mod activation;
mod chain;
mod dense;
mod end;
mod front;
mod layer;
mod padding;
#[cfg(test)]
mod tests;
mod unpooled;
mod walk;

use mbvc_compiler::spec::Activation;

use crate::error::{ImportError, Result};
use crate::source::SourceGraph;
use dense::{DenseLayers, no_classifier};
use end::End;
use front::Entry;
use layer::Expected;
use walk::Walk;

pub use chain::{Block, Chain, Front, Pool};
pub use layer::{Layer, Norm};

/// Recognizes the network of `graph`, which must not exceed `most` parameters.
pub fn recognize<'g>(graph: &'g SourceGraph<'_>, most: usize) -> Result<Chain<'g>> {
    let mut walk = Walk::new(graph, most);
    let Entry { front, copies, output: mut value } = walk.entry(graph.input)?;
    let mut stem;
    (stem, value) = walk.layer(value, "stem", Expected::Stem)?;
    if copies.is_some() {
        (stem.copies, stem.shape[2]) = (copies, 1);
    }
    let mut blocks = Vec::new();
    let depthwise_layers = walk.depthwise_layers();
    let head = loop {
        let number = blocks.len() + 1;
        let input = value;
        let in_channels = walk.channels;
        let mut expand = None;
        if !walk.reads_depthwise(value) {
            let is_last = blocks.len() == depthwise_layers;
            if let Some(error) = walk.not_pooled(value).filter(|_| is_last) {
                return Err(error);
            }
            let role = if is_last { "head".to_owned() } else { format!("block{number}.expand or head") };
            let (layer, after) = walk.layer(value, &role, Expected::Pointwise { activated: true })?;
            if walk.is_end(after) {
                return Err(no_classifier("the last convolution")
                    .at(layer.place)
                    .expected("an average pool and a dense layer"));
            }
            if walk.is_pooled(after) || is_last {
                value = after;
                break Layer { role: "head".into(), ..layer };
            }
            expand = Some(expansion(Layer { role: format!("block{number}.expand"), ..layer }, in_channels)?);
            value = after;
        }
        let (depthwise, project, residual);
        (depthwise, value) = walk.layer(value, &format!("block{number}.depthwise"), Expected::Depthwise)?;
        (project, value) =
            walk.layer(value, &format!("block{number}.project"), Expected::Pointwise { activated: false })?;
        let shapes = unequal_shapes(in_channels, depthwise.stride, project.out_channels());
        (residual, value) = walk.residual(input, value, number, shapes)?;
        blocks.push(Block { expand, depthwise, project, residual, output: value, in_channels });
    };
    let pooled;
    (pooled, value) = walk.pool(value)?;
    let pool = Pool { windowed: pooled, output: value };
    let DenseLayers { hidden: dense, classifier, logits } = walk.dense_layers(value)?;
    let End { activation: head_activation, rankings, other_outputs } = walk.end(logits)?;
    let dense_activation = if dense.is_empty() { Activation::Relu } else { walk.dense_activation.outcome()? };
    let activation_implied = walk.activation.is_implied();
    let activation = walk.activation.outcome()?;
    let (padding, padding_seen_at) = walk.padding.outcome();
    Ok(Chain {
        stem,
        blocks,
        head,
        pool,
        dense,
        dense_activation,
        classifier,
        head_activation,
        rankings,
        other_outputs,
        activation,
        activation_implied,
        padding,
        padding_seen_at,
        explicit_padding: walk.padding.explicit(),
        resolution: walk.resolution,
        size_multiple: walk.size_multiple,
        front,
    })
}

/// Describes a block whose input and output differ in shape, so that a residual would be broadcast.
fn unequal_shapes(in_channels: usize, stride: usize, out_channels: usize) -> Option<String> {
    (stride != 1 || in_channels != out_channels)
        .then(|| format!("a block with stride {stride} from {in_channels} to {out_channels} channels"))
}

/// Checks that the expansion factor is whole and above 1.
fn expansion(layer: Layer<'_>, in_channels: usize) -> Result<Layer<'_>> {
    let out = layer.shape.last().copied().unwrap_or(0);
    let wrong = |problem: &str| {
        ImportError::unsupported(problem)
            .at(layer.place.clone())
            .role(layer.role.clone())
            .found(format!("{in_channels} channels expanded to {out}"))
    };
    if out == in_channels {
        return Err(wrong("the block has an expansion convolution with factor 1")
            .expected("no expansion convolution, as in the paper's first block")
            .help("blocks of factor 1 have no expansion convolution; export from an implementation that omits it"));
    }
    if !out.is_multiple_of(in_channels) {
        return Err(wrong("the expansion factor is not whole").expected(format!("a multiple of {in_channels}")));
    }
    Ok(layer)
}
