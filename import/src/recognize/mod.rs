//! Matches a source graph to the MobileNetV2 family: stem, inverted residual blocks, head, pool, classifier
//! (Sandler et al. 2018, arXiv:1801.04381, section 3).

mod activation;
mod layer;
mod padding;
#[cfg(test)]
mod tests;
mod walk;

use mbvc_compiler::spec::{Activation, Padding};

use crate::error::{ImportError, Result};
use crate::source::{Node, Op, SourceGraph, Value};

use layer::Want;
pub use layer::{Layer, Norm};
use walk::Walk;

/// A network of the family, its weights still in the file.
#[derive(Debug)]
pub struct Chain<'g> {
    pub stem: Layer<'g>,
    pub blocks: Vec<Block<'g>>,
    pub head: Layer<'g>,
    pub pool: Pool,
    pub classifier: Layer<'g>,
    pub activation: Activation,
    /// Whether some layers have no activation but the range of their quantized values.
    pub activation_absorbed: bool,
    /// `None` where the geometry allows both conventions.
    pub padding: Option<Padding>,
    /// The layer whose geometry decided.
    pub padding_seen_at: Option<String>,
    /// `[height, width]` of the image, where the file fixes them.
    pub resolution: Option<[usize; 2]>,
    /// What the graph itself does to its input before the stem.
    pub front: Option<Front>,
}

/// Arithmetic on the input: `x * scale + offset` per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Front {
    pub scale: [f64; 3],
    pub offset: [f64; 3],
    pub output: Value,
}

impl Front {
    /// Whether it takes pixels of 0..255 rather than 0..1: a graph that takes 0..1 multiplies by around 2 to 5, one that
    /// takes 0..255 by around 0.01.
    pub fn takes_bytes(&self) -> bool {
        self.scale.iter().all(|scale| scale.abs() < 0.1)
    }
}

/// The global average.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// A pool of a window that covers the image, rather than a mean.
    pub windowed: bool,
    pub output: Value,
}

/// One inverted residual block.
#[derive(Debug)]
pub struct Block<'g> {
    /// Absent where the expansion is 1.
    pub expand: Option<Layer<'g>>,
    pub depthwise: Layer<'g>,
    pub project: Layer<'g>,
    pub residual: bool,
    /// What the block makes: the sum where it has a residual, else its projection's.
    pub output: Value,
    pub in_channels: usize,
}

impl Chain<'_> {
    /// All convolutions in order of execution, the classifier last.
    pub fn layers(&self) -> impl Iterator<Item = &Layer<'_>> {
        let blocks = self.blocks.iter();
        let of_blocks = blocks.flat_map(|block| block.expand.iter().chain([&block.depthwise, &block.project]));
        [&self.stem].into_iter().chain(of_blocks).chain([&self.head, &self.classifier])
    }
}

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

/// Whether `node` adds `one` and `other`, in either order.
fn adds(node: &Node<'_>, one: Value, other: Value) -> bool {
    matches!(node.op, Op::Add) && matches!(*node.inputs, [a, b] if (a, b) == (one, other) || (a, b) == (other, one))
}
