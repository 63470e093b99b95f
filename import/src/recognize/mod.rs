//! Matches a source graph to the MobileNetV2 family: stem, inverted residual blocks, head, pool, classifier
//! (Sandler et al. 2018, arXiv:1801.04381, section 3).

mod activation;
mod chain;
mod layer;
mod padding;
#[cfg(test)]
mod tests;
mod walk;

use crate::error::{ImportError, Result};
use crate::source::SourceGraph;
use layer::Want;
use walk::Walk;

pub use chain::{Block, Chain, Front, Pool};
pub use layer::{Layer, Norm};

/// Walks `graph` from its input to its end. The network may have `most` parameters.
pub fn recognize<'g>(graph: &'g SourceGraph<'_>, most: usize) -> Result<Chain<'g>> {
    let mut walk = Walk::new(graph, most);
    let front = walk.front(graph.input)?;
    let mut value = front.map_or(graph.input, |front| front.output);
    let stem;
    (stem, value) = walk.layer(value, "stem", Want::Stem)?;
    let mut blocks = Vec::new();
    let head = loop {
        let number = blocks.len() + 1;
        let input = value;
        let in_channels = walk.channels;
        let mut expand = None;
        if !walk.reads_depthwise(value) {
            let (layer, after) =
                walk.layer(value, &format!("block{number}.expand or head"), Want::Pointwise { activated: true })?;
            if walk.is_end(after) {
                return Err(ImportError::unsupported("the network ends with its features: it has no classifier")
                    .at(layer.place)
                    .expected("an average pool and a fully connected layer after the last convolution")
                    .help("give the whole classifier, not the backbone alone (in Keras, `include_top=True` or a head of your own)"));
            }
            if walk.is_pooled(after) {
                value = after;
                break Layer { role: "head".into(), ..layer };
            }
            expand = Some(expansion(Layer { role: format!("block{number}.expand"), ..layer }, in_channels)?);
            value = after;
        }
        let (depthwise, project, residual);
        (depthwise, value) = walk.layer(value, &format!("block{number}.depthwise"), Want::Depthwise)?;
        (project, value) =
            walk.layer(value, &format!("block{number}.project"), Want::Pointwise { activated: false })?;
        (residual, value) = walk.residual(input, value, number)?;
        blocks.push(Block { expand, depthwise, project, residual, output: value, in_channels });
    };
    let classifier;
    let pooled;
    (pooled, value) = walk.pool(value)?;
    let pool = Pool { windowed: pooled, output: value };
    (classifier, value) = walk.classifier(value)?;
    walk.end(value)?;
    let activation_absorbed = walk.activation.is_absorbed();
    let activation = walk.activation.outcome()?;
    let (padding, padding_seen_at) = walk.padding.outcome();
    Ok(Chain {
        stem,
        blocks,
        head,
        pool,
        classifier,
        activation,
        activation_absorbed,
        padding,
        padding_seen_at,
        resolution: walk.resolution,
        front,
    })
}

/// The expansion factor must be whole, and more than 1.
fn expansion(layer: Layer<'_>, in_channels: usize) -> Result<Layer<'_>> {
    let out = layer.shape.last().copied().unwrap_or(0);
    let wrong = |problem: &str| {
        ImportError::unsupported(problem)
            .at(layer.place.clone())
            .role(layer.role.clone())
            .found(format!("{in_channels} channels expanded to {out}"))
    };
    if out == in_channels {
        return Err(wrong("this block has an expansion convolution though its factor is 1")
            .expected("no expansion convolution, as in the paper's first block")
            .help("the compiler's blocks of factor 1 have none; export from an implementation that leaves it out"));
    }
    if !out.is_multiple_of(in_channels) {
        return Err(wrong("the expansion factor is not whole").expected(format!("a multiple of {in_channels}")));
    }
    Ok(layer)
}
